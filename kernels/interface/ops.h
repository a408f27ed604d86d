// What the host hands to the plain kernels of kernels/ops; plain data, read by g++ and nvcc alike.
// Each struct names its kernel, which is an entry point of ops.cubin. Matrices are row-major.
#pragma once

#include <cstdint>

namespace nestedfp::kernels {

/// How a matrix of the reference is to be read.
enum class Reading : int32_t {
    /// Binary16 words.
    kHalf,
    /// Binary16 words, of which the nested format's upper byte alone counts: E4M3(256 w), not scaled back.
    kUpperOfHalf,
    /// E4M3 bytes.
    kE4m3,
    /// bfloat16 words.
    kBfloat16,
};

/// fill_normal: N(0, sigma) rounded to binary16, clamped to +-limit; the same values for the same seed.
struct FillNormalParams {
    uint16_t* out;
    int64_t count;
    uint64_t seed;
    float sigma;
    float limit;
};

/// fill_eligible: the 32,512 words that FORMAT.md section 1 calls eligible, one after the other and again.
struct FillEligibleParams {
    uint16_t* out;
    int64_t count;
};

/// split_planes: words [n, k] to the upper plane [n, padded_k] and the lower plane, both in the device's K
/// order, zero beyond k: planes.h.
struct SplitPlanesParams {
    const uint16_t* words;
    uint8_t* upper;
    uint8_t* lower;
    int64_t n;
    int64_t k;
    int64_t padded_k;
};

/// join_planes: the inverse.
struct JoinPlanesParams {
    const uint8_t* upper;
    const uint8_t* lower;
    uint16_t* words;
    int64_t n;
    int64_t k;
    int64_t padded_k;
};

/// quantise_rows: one block per row; scale = max|x| / 448 (1 if 0), out = E4M3(x / scale), zero beyond cols.
struct QuantiseRowsParams {
    const uint16_t* x;
    /// [rows, pitch]
    uint8_t* out;
    /// [rows]
    float* scales;
    int64_t cols;
    int64_t pitch;
    /// 1: the device's K order, pitch = padded_k; 0: natural order.
    int32_t permuted;
};

/// absolute_maximum: the largest |x| of all, as the bits of an FP32 that starts at 0.
struct AbsoluteMaximumParams {
    const uint16_t* x;
    int64_t count;
    uint32_t* maximum;
};

/// quantise_tensor: out = E4M3(x / scale) with one scale = maximum / 448 (1 if 0), which block 0 writes.
struct QuantiseTensorParams {
    const uint16_t* x;
    uint8_t* out;
    int64_t count;
    const float* maximum;
    float* scale;
};

/// The row of X that row i of a reference of `rows` rows stands for: each when rows = m, else one of each of
/// `rows` equal parts, at a place in it that changes from part to part: at equal steps all would lie in the
/// same columns of the tensor cores' tiles.
constexpr int64_t reference_row(int64_t i, int64_t rows, int64_t m) {
    const int64_t begin = i * m / rows;
    const int64_t length = (i + 1) * m / rows - begin;
    return begin + (static_cast<uint32_t>(i) * 2654435761u >> 16) % length;
}

/// reference_gemm: out[i, n] = x_scale * w_scale[n] * sum over k of x[reference_row(i), k] w[n, k], summed in
/// FP64.
struct ReferenceGemmParams {
    const void* x;
    const void* w;
    Reading x_reading;
    Reading w_reading;
    /// FP32 or null (1); a stride of 0 where one scale holds for all.
    const float* x_scale;
    const float* w_scale;
    int32_t x_scale_stride;
    int32_t w_scale_stride;
    /// [rows, n]
    float* out;
    int64_t m;
    int64_t rows;
    int64_t n;
    int64_t k;
};

struct Difference {
    double squared_error;
    double squared_reference;
    /// Bits of an FP32.
    uint32_t largest_error;
    uint32_t padding;
};

/// compare_reference: the rows that reference_gemm took.
struct CompareReferenceParams {
    const uint16_t* out;
    Reading reading;
    const float* reference;
    int64_t m;
    int64_t rows;
    int64_t n;
    /// Starts at zero.
    Difference* difference;
};

struct Mismatch {
    uint64_t count;
    /// The lowest index that differs; starts at all ones.
    uint64_t first;
};

/// count_nan: binary16 or bfloat16 words that are NaN, as the poison is.
struct CountNanParams {
    const uint16_t* words;
    Reading reading;
    int64_t count;
    Mismatch* found;
};

/// compare_words: 16-bit words that differ.
struct CompareWordsParams {
    const uint16_t* a;
    const uint16_t* b;
    int64_t count;
    Mismatch* found;
};

/// fill_identity: x[t, j] = 1 where j = first + t, else 0, in binary16.
struct FillIdentityParams {
    uint16_t* x;
    int64_t m;
    int64_t k;
    int64_t first;
};

/// compare_identity: out [m, n] of fill_identity with words [n, k]: out[t, j] must be w[j, first + t] *
/// scale[j] in binary16, bit for bit but for the sign of zero, which a sum with +0 loses.
struct CompareIdentityParams {
    const uint16_t* out;
    const uint16_t* words;
    Reading reading;
    const float* scale;
    int64_t m;
    int64_t n;
    int64_t k;
    int64_t first;
    Mismatch* found;
};

/// wait: about so many nanoseconds on one thread, so that what follows is queued before it starts.
struct WaitParams {
    int64_t nanoseconds;
};

}  // namespace nestedfp::kernels
