#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "cpu/weight_view.h"

namespace nestedfp::cpu {

/// Sums over k of the tile kernel are taken in blocks of this many: the sum of a block begins at 0, goes up
/// in k by fused multiply-add, and is added to those before it.
constexpr size_t kBlockSteps = 256;

/// Columns to which the x of the dot kernel are padded with zeros.
constexpr size_t kDotStep = 32;

/// Lanes of a vector in every implementation, whatever the width of its registers: the order of every sum is
/// defined on them, so all implementations give the same bits.
constexpr size_t kLanes = 16;

/// sum = sum of exp(x - max).
struct ExpSum {
    float max;
    double sum;
};

/// The loops of one instruction set. scalar.cc is their meaning; every other one gives the same bits.
struct Implementation {
    const char* name;
    bool (*is_supported)();

    /// out[t * out_stride + n] for each token t < tokens and n < rows is the product of row `first` + n and
    /// of x + t * x_stride. Lane k % 16 sums up in k by fused multiply-add; the lanes are summed as a tree.
    using Dot = void (*)(const WeightView& weights, size_t first, size_t rows, const float* x,
                         size_t x_stride, size_t tokens, float* out, size_t out_stride);
    std::array<Dot, kLoaders> dot;

    /// The values of `cols` weights from column `first` on. Writes up to the next multiple of 32.
    using Decode = void (*)(const WeightView& weights, size_t row, size_t first, size_t cols, float* values);
    std::array<Decode, kLoaders> decode;

    /// Rows and tokens of a tile that keep the registers busy; tokens is a multiple of 16.
    size_t tile_rows;
    size_t tile_tokens;
    /// sums[n * sums_stride + t] (+)= sum over k < steps of w(n, k) * x[k * width + t] for each n < rows and
    /// t < width (16 or tile_tokens), up in k by fused multiply-add; adds to `sums` if `adds`. Here w(n, k)
    /// is panel[n * kBlockSteps + k], and steps <= kBlockSteps.
    void (*tile)(const float* panel, size_t rows, const float* x, size_t width, size_t steps, float* sums,
                 size_t sums_stride, bool adds);
    /// The same with w(n, k) = w[k * w_stride + n].
    void (*tile_columns)(const float* w, size_t w_stride, size_t rows, const float* x, size_t width,
                         size_t steps, float* sums, size_t sums_stride, bool adds);

    /// packed[k * width + t] = x[t * x_stride + k], zero for tokens <= t < width (a multiple of 16). With
    /// `scales`, E4M3(x / scales[t]) instead.
    void (*pack)(const float* x, size_t x_stride, const float* scales, size_t tokens, size_t cols,
                 size_t width, float* packed);
    /// out[t * out_stride + n] = sums[n * sums_stride + t]; reads sums up to the next multiple of 16 tokens.
    void (*unpack)(const float* sums, size_t sums_stride, size_t rows, size_t tokens, float* out,
                   size_t out_stride);

    /// max |x|; a NaN wins, then infinity.
    float (*max_magnitude)(const float* x, size_t count);
    /// E4M3(x / scale) as values: nearest even, saturating at 448.
    void (*quantise)(const float* x, size_t count, float scale, float* values);
    /// binary16, nearest even.
    void (*to_half)(const float* x, size_t count, uint16_t* words);

    /// x / sqrt(mean(x^2) + eps) * weight. Lane k % 16 sums, then the tree.
    void (*rms_norm)(const float* x, const float* weight, size_t count, float eps, float* out);
    /// (x, x + half) rotated by the angles of `cos` and `sin`, in place.
    void (*rope)(float* x, size_t half, const float* cos, const float* sin);
    /// gate / (1 + exp(-gate)) * up.
    void (*silu_mul)(const float* gate, const float* up, size_t count, float* out);
    void (*add)(float* x, const float* y, size_t count);

    /// In each of `width` columns (a multiple of 16) of scores [count, width]: exp(scale * (score - max)),
    /// with -infinity for a masked score; `sums` are their sums, up in rows.
    void (*softmax)(float* scores, size_t count, size_t width, float scale, float* sums);
    /// x[k * width + t] /= sums[t].
    void (*divide)(float* x, size_t count, size_t width, const float* sums);

    ExpSum (*exp_sum)(const float* x, size_t count);
    /// Sum of exp(reference - max) * (reference - x), lane k % 16 in FP64, then the tree.
    double (*weighted_difference)(const float* reference, const float* x, size_t count, float max);

    constexpr Dot dot_of(Loader loader) const { return dot[static_cast<size_t>(loader)]; }
    constexpr Decode decode_of(Loader loader) const { return decode[static_cast<size_t>(loader)]; }
};

/// The specification.
extern const Implementation scalar_implementation;

#if defined(__x86_64__)
extern const Implementation avx2_implementation;
extern const Implementation avx512_implementation;
#endif

}  // namespace nestedfp::cpu
