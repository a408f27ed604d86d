// Included by avx2.cc and avx512.cc inside their target region, after Vec and its operations.

/// R rows, V vectors of tokens; w(n, k) = w[n * kRowStride + k * step_stride].
template <int R, int V, size_t kRowStride>
void tile_block(const float* w, size_t step_stride, const float* x, size_t steps, float* sums,
                size_t sums_stride, bool adds) {
    Vec block[R][V];
    for (int n = 0; n < R; ++n) {
        for (int v = 0; v < V; ++v) block[n][v] = zero();
    }
    for (size_t k = 0; k < steps; ++k) {
        Vec x_at[V];
        for (int v = 0; v < V; ++v) x_at[v] = load(x + (k * V + v) * kLanes);
        for (int n = 0; n < R; ++n) {
            const Vec w_at = set1(w[n * kRowStride + k * step_stride]);
            for (int v = 0; v < V; ++v) block[n][v] = multiply_add(w_at, x_at[v], block[n][v]);
        }
    }
    for (int n = 0; n < R; ++n) {
        for (int v = 0; v < V; ++v) {
            float* total = sums + n * sums_stride + v * kLanes;
            store(total, adds ? add(load(total), block[n][v]) : block[n][v]);
        }
    }
}

/// R counts down to the number of rows that are left.
template <int R, int V, size_t kRowStride>
void tile_rest(size_t rows, const float* w, size_t step_stride, const float* x, size_t steps, float* sums,
               size_t sums_stride, bool adds) {
    if constexpr (R > 0) {
        if (rows == R) {
            tile_block<R, V, kRowStride>(w, step_stride, x, steps, sums, sums_stride, adds);
        } else {
            tile_rest<R - 1, V, kRowStride>(rows, w, step_stride, x, steps, sums, sums_stride, adds);
        }
    }
}

template <int V, size_t kRowStride>
void tile_rows(const float* w, size_t step_stride, size_t rows, const float* x, size_t steps, float* sums,
               size_t sums_stride, bool adds) {
    size_t n = 0;
    for (; n + kTileRows <= rows; n += kTileRows) {
        tile_block<kTileRows, V, kRowStride>(w + n * kRowStride, step_stride, x, steps,
                                             sums + n * sums_stride, sums_stride, adds);
    }
    tile_rest<kTileRows - 1, V, kRowStride>(rows - n, w + n * kRowStride, step_stride, x, steps,
                                            sums + n * sums_stride, sums_stride, adds);
}

template <size_t kRowStride>
void tile_width(const float* w, size_t step_stride, size_t rows, const float* x, size_t width, size_t steps,
                float* sums, size_t sums_stride, bool adds) {
    if (width == kLanes) {
        tile_rows<1, kRowStride>(w, step_stride, rows, x, steps, sums, sums_stride, adds);
    } else {
        tile_rows<kTileVecs, kRowStride>(w, step_stride, rows, x, steps, sums, sums_stride, adds);
    }
}

void tile(const float* panel, size_t rows, const float* x, size_t width, size_t steps, float* sums,
          size_t sums_stride, bool adds) {
    tile_width<kBlockSteps>(panel, 1, rows, x, width, steps, sums, sums_stride, adds);
}

void tile_columns(const float* w, size_t w_stride, size_t rows, const float* x, size_t width, size_t steps,
                  float* sums, size_t sums_stride, bool adds) {
    tile_width<1>(w, w_stride, rows, x, width, steps, sums, sums_stride, adds);
}

/// The E4M3 value nearest to v, ties to even: adding and subtracting 1.5 * 2^20 times its power of two leaves
/// the three fraction bits of a normal, or the units of 2^-9.
Vec round_to_e4m3(Vec v) {
    const Vec capped = smaller(set1(kE4m3Max), magnitude(v));
    const Vec power = exponent_part(larger(set1(0x1p-6F), capped));
    const Vec round = multiply(power, set1(0x1.8p20F));
    return with_sign_of(subtract(add(capped, round), round), v);
}

void quantise(const float* x, size_t count, float scale, float* values) {
    const Vec divisor = set1(scale);
    size_t k = 0;
    for (; k + kLanes <= count; k += kLanes) store(values + k, round_to_e4m3(divide(load(x + k), divisor)));
    if (k < count) {
        store_part(values + k, round_to_e4m3(divide(load_part(x + k, count - k), divisor)), count - k);
    }
}

/// 16 columns of 16 tokens, or of fewer, transposed.
void pack_square(const float* x, size_t x_stride, const float* scales, size_t tokens, size_t cols,
                 size_t width, float* packed) {
    Vec square[kLanes];
    for (size_t t = 0; t < kLanes; ++t) {
        square[t] = zero();
        if (t >= tokens) continue;
        const float* at = x + t * x_stride;
        square[t] = cols < kLanes ? load_part(at, cols) : load(at);
        if (scales != nullptr) square[t] = round_to_e4m3(divide(square[t], set1(scales[t])));
    }
    transpose(square);
    for (size_t k = 0; k < kLanes && k < cols; ++k) store(packed + k * width, square[k]);
}

void pack(const float* x, size_t x_stride, const float* scales, size_t tokens, size_t cols, size_t width,
          float* packed) {
    for (size_t t = 0; t < width; t += kLanes) {
        const size_t tokens_left = t < tokens ? tokens - t : 0;
        const float* scales_left = scales == nullptr || tokens_left == 0 ? nullptr : scales + t;
        for (size_t k = 0; k < cols; k += kLanes) {
            pack_square(x + t * x_stride + k, x_stride, scales_left, tokens_left, cols - k, width,
                        packed + k * width + t);
        }
    }
}

void unpack(const float* sums, size_t sums_stride, size_t rows, size_t tokens, float* out,
            size_t out_stride) {
    for (size_t n = 0; n < rows; n += kLanes) {
        for (size_t t = 0; t < tokens; t += kLanes) {
            Vec square[kLanes];
            for (size_t at = 0; at < kLanes; ++at) {
                square[at] = n + at < rows ? load(sums + (n + at) * sums_stride + t) : zero();
            }
            transpose(square);
            for (size_t at = 0; at < kLanes && t + at < tokens; ++at) {
                float* to = out + (t + at) * out_stride + n;
                if (rows - n < kLanes) {
                    store_part(to, square[at], rows - n);
                } else {
                    store(to, square[at]);
                }
            }
        }
    }
}
