// Included by avx2.cc and avx512.cc inside their target region, after Vec, its operations and the rows.

/// One row with T tokens, 32 columns.
template <int T>
void add_products(const Pair& w, const float* x, size_t x_stride, Vec (&sums)[T]) {
    for (int t = 0; t < T; ++t) {
        sums[t] = multiply_add(w.low, load(x + t * x_stride), sums[t]);
        sums[t] = multiply_add(w.high, load(x + t * x_stride + kLanes), sums[t]);
    }
}

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
    for (; k + 2 * kDotStep <= weights.cols; k += 2 * kDotStep) {
        for (int n = 0; n < R; ++n) {
            rows[n].prefetch(k + Row::kPrefetchColumns);
            add_products(rows[n].template at<T>(k), x + k, x_stride, sums[n]);
            add_products(rows[n].template at<T>(k + kDotStep), x + k + kDotStep, x_stride, sums[n]);
        }
    }
    for (; k < weights.cols; k += kDotStep) {
        const size_t left = weights.cols - k;
        for (int n = 0; n < R; ++n) {
            const Pair w = left < kDotStep ? rows[n].part(k, left) : rows[n].template at<T>(k);
            add_products(w, x + k, x_stride, sums[n]);
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

/// Of a nested loader: rows without a shift, which most are, save the multiplication by 1.
template <typename Row>
void dot_nested(const WeightView& weights, size_t first, size_t rows, const float* x, size_t x_stride,
                size_t tokens, float* out, size_t out_stride) {
    if (any_shift(weights, first, rows)) {
        dot<Shifted<Row>>(weights, first, rows, x, x_stride, tokens, out, out_stride);
    } else {
        dot<Row>(weights, first, rows, x, x_stride, tokens, out, out_stride);
    }
}

template <typename Row>
void decode(const WeightView& weights, size_t row, size_t first, size_t cols, float* values) {
    const Row from(weights, row);
    for (size_t k = 0; k < cols; k += kDotStep) {
        // The block of this row that the caller wants next, once it has used this one.
        if (k % (2 * kDotStep) == 0) from.prefetch(first + k + kBlockSteps);
        const Pair w = cols - k < kDotStep ? from.part(first + k, cols - k) : from.at(first + k);
        store(values + k, w.low);
        store(values + k + kLanes, w.high);
    }
}

template <typename Row>
void decode_nested(const WeightView& weights, size_t row, size_t first, size_t cols, float* values) {
    if (weights.shift(row) != 0) {
        decode<Shifted<Row>>(weights, row, first, cols, values);
    } else {
        decode<Row>(weights, row, first, cols, values);
    }
}
