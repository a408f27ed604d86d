// Included by avx2.cc and avx512.cc inside their target region, after Vec, its operations and the rows.

template <int R, int T, typename Row>
void dot_block(const WeightView& weights, size_t first, const float* x, size_t x_stride, float* out,
               size_t out_stride) {
    Row rows[R];
    for (int n = 0; n < R; ++n) rows[n] = Row(weights, first + n);
    Vec sums[R][T];
    for (int n = 0; n < R; ++n) {
        for (int t = 0; t < T; ++t) sums[n][t] = zero();
    }
    size_t k = 0;
    for (; k + kDotStep <= weights.cols; k += kDotStep) {
        for (int n = 0; n < R; ++n) {
            rows[n].prefetch(k);
            const Pair w = rows[n].at(k);
            for (int t = 0; t < T; ++t) {
                const float* x_at = x + t * x_stride + k;
                sums[n][t] = multiply_add(w.low, load(x_at), sums[n][t]);
                sums[n][t] = multiply_add(w.high, load(x_at + kLanes), sums[n][t]);
            }
        }
    }
    if (k < weights.cols) {
        for (int n = 0; n < R; ++n) {
            const Pair w = rows[n].part(k, weights.cols - k);
            for (int t = 0; t < T; ++t) {
                const float* x_at = x + t * x_stride + k;
                sums[n][t] = multiply_add(w.low, load(x_at), sums[n][t]);
                sums[n][t] = multiply_add(w.high, load(x_at + kLanes), sums[n][t]);
            }
        }
    }
    for (int n = 0; n < R; ++n) {
        for (int t = 0; t < T; ++t) out[t * out_stride + n] = sum_of_lanes(sums[n][t]);
    }
}

template <int T, typename Row>
void dot_tokens(const WeightView& weights, size_t first, size_t rows, const float* x, size_t x_stride,
                float* out, size_t out_stride) {
    constexpr int R = dot_rows(T);
    size_t n = 0;
    for (; n + R <= rows; n += R) dot_block<R, T, Row>(weights, first + n, x, x_stride, out + n, out_stride);
    for (; n < rows; ++n) dot_block<1, T, Row>(weights, first + n, x, x_stride, out + n, out_stride);
}

/// T counts down to the number of tokens.
template <int T, typename Row>
void dot_few(size_t tokens, const WeightView& weights, size_t first, size_t rows, const float* x,
             size_t x_stride, float* out, size_t out_stride) {
    if constexpr (T > 0) {
        if (tokens == T) {
            dot_tokens<T, Row>(weights, first, rows, x, x_stride, out, out_stride);
        } else {
            dot_few<T - 1, Row>(tokens, weights, first, rows, x, x_stride, out, out_stride);
        }
    }
}

/// Rows that stay in the first-level cache while one group of tokens after another reads them.
constexpr size_t kDotRowBlock = 4;

template <typename Row>
void dot(const WeightView& weights, size_t first, size_t rows, const float* x, size_t x_stride, size_t tokens,
         float* out, size_t out_stride) {
    if (tokens <= kDotTokens) {
        dot_few<kDotTokens, Row>(tokens, weights, first, rows, x, x_stride, out, out_stride);
        return;
    }
    for (size_t n = 0; n < rows; n += kDotRowBlock) {
        const size_t block = rows - n < kDotRowBlock ? rows - n : kDotRowBlock;
        for (size_t t = 0; t < tokens; t += kDotTokens) {
            const size_t group = tokens - t < kDotTokens ? tokens - t : kDotTokens;
            dot_few<kDotTokens, Row>(group, weights, first + n, block, x + t * x_stride, x_stride,
                                     out + t * out_stride + n, out_stride);
        }
    }
}

template <typename Row>
void decode(const WeightView& weights, size_t row, size_t first, size_t cols, float* values) {
    const Row from(weights, row);
    size_t k = 0;
    for (; k + kDotStep <= cols; k += kDotStep) {
        const Pair w = from.at(first + k);
        store(values + k, w.low);
        store(values + k + kLanes, w.high);
    }
    if (k < cols) {
        const Pair w = from.part(first + k, cols - k);
        store(values + k, w.low);
        store(values + k + kLanes, w.high);
    }
}
