#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "codec/float16.h"
#include "codec/overlay.h"
#include "cpu/e4m3.h"
#include "cpu/exp.h"
#include "cpu/implementation.h"

namespace nestedfp::cpu {
namespace {

uint16_t word_at(const uint8_t* words, size_t at) {
    uint16_t word;
    std::memcpy(&word, words + 2 * at, 2);
    return word;
}

template <Loader L>
float weight(const WeightView& weights, size_t row, size_t col) {
    const size_t at = row * weights.cols + col;
    if constexpr (L == Loader::kHalf) return codec::half_to_float(word_at(weights.bytes, at));
    if constexpr (L == Loader::kNestedHalf) {
        const uint16_t word = codec::reconstruct({weights.bytes[at], weights.lower[at]});
        return codec::half_to_float(word) * codec::power_of_two(weights.shift(row));
    }
    const float value = codec::half_to_float(codec::upper_as_half(weights.bytes[at]));
    if constexpr (L == Loader::kFp8) return value;
    return value * codec::power_of_two(weights.shift(row));
}

/// Lane n with lane n + 8, then 4, 2, 1.
template <typename Number>
Number sum_of_lanes(const Number (&lanes)[kLanes]) {
    Number sums[kLanes];
    std::copy(lanes, lanes + kLanes, sums);
    for (size_t width = kLanes / 2; width > 0; width /= 2) {
        for (size_t n = 0; n < width; ++n) sums[n] += sums[n + width];
    }
    return sums[0];
}

template <Loader L>
void dot(const WeightView& weights, size_t first, size_t rows, const float* x, size_t x_stride, size_t tokens,
         float* out, size_t out_stride) {
    for (size_t n = 0; n < rows; ++n) {
        for (size_t t = 0; t < tokens; ++t) {
            float lanes[kLanes] = {};
            for (size_t k = 0; k < weights.cols; ++k) {
                float& lane = lanes[k % kLanes];
                lane = std::fma(weight<L>(weights, first + n, k), x[t * x_stride + k], lane);
            }
            out[t * out_stride + n] = sum_of_lanes(lanes);
        }
    }
}

template <Loader L>
void decode(const WeightView& weights, size_t row, size_t first, size_t cols, float* values) {
    for (size_t k = 0; k < cols; ++k) values[k] = weight<L>(weights, row, first + k);
}

/// w(n, k) = w[n * row_stride + k * step_stride].
void tile_of(const float* w, size_t row_stride, size_t step_stride, size_t rows, const float* x, size_t width,
             size_t steps, float* sums, size_t sums_stride, bool adds) {
    for (size_t n = 0; n < rows; ++n) {
        for (size_t t = 0; t < width; ++t) {
            float sum = 0;
            for (size_t k = 0; k < steps; ++k) {
                sum = std::fma(w[n * row_stride + k * step_stride], x[k * width + t], sum);
            }
            float& total = sums[n * sums_stride + t];
            total = adds ? total + sum : sum;
        }
    }
}

void tile(const float* panel, size_t rows, const float* x, size_t width, size_t steps, float* sums,
          size_t sums_stride, bool adds) {
    tile_of(panel, kBlockSteps, 1, rows, x, width, steps, sums, sums_stride, adds);
}

void tile_columns(const float* w, size_t w_stride, size_t rows, const float* x, size_t width, size_t steps,
                  float* sums, size_t sums_stride, bool adds) {
    tile_of(w, 1, w_stride, rows, x, width, steps, sums, sums_stride, adds);
}

/// Nearest even at the spacing of E4M3, 2^(e-3) and at least 2^-9; a NaN stays one.
float round_to_e4m3(float value) {
    const float magnitude = std::abs(value);
    if (!(magnitude < kE4m3Max)) return std::isnan(value) ? value : std::copysign(kE4m3Max, value);
    const int exponent = std::max(std::ilogb(magnitude), -6);
    const float spacing = std::ldexp(1.0F, exponent - 3);
    return std::copysign(std::nearbyint(magnitude / spacing) * spacing, value);
}

void quantise(const float* x, size_t count, float scale, float* values) {
    for (size_t k = 0; k < count; ++k) values[k] = round_to_e4m3(x[k] / scale);
}

void pack(const float* x, size_t x_stride, const float* scales, size_t tokens, size_t cols, size_t width,
          float* packed) {
    for (size_t k = 0; k < cols; ++k) {
        for (size_t t = 0; t < width; ++t) {
            float value = t < tokens ? x[t * x_stride + k] : 0;
            if (scales != nullptr && t < tokens) value = round_to_e4m3(value / scales[t]);
            packed[k * width + t] = value;
        }
    }
}

void unpack(const float* sums, size_t sums_stride, size_t rows, size_t tokens, float* out,
            size_t out_stride) {
    for (size_t n = 0; n < rows; ++n) {
        for (size_t t = 0; t < tokens; ++t) out[t * out_stride + n] = sums[n * sums_stride + t];
    }
}

float max_magnitude(const float* x, size_t count) {
    uint32_t most = 0;  // as integers the bits of magnitudes order them, with NaN at the top
    for (size_t k = 0; k < count; ++k) most = std::max(most, std::bit_cast<uint32_t>(x[k]) & 0x7FFFFFFF);
    return std::bit_cast<float>(most);
}

void to_half(const float* x, size_t count, uint16_t* words) {
    for (size_t k = 0; k < count; ++k) words[k] = codec::round_to_half(x[k]);
}

void rms_norm(const float* x, const float* weight, size_t count, float eps, float* out) {
    float lanes[kLanes] = {};
    for (size_t k = 0; k < count; ++k) lanes[k % kLanes] = std::fma(x[k], x[k], lanes[k % kLanes]);
    const float mean = sum_of_lanes(lanes) / static_cast<float>(count);
    const float inverse = 1 / std::sqrt(mean + eps);
    for (size_t k = 0; k < count; ++k) out[k] = x[k] * inverse * weight[k];
}

void rope(float* x, size_t half, const float* cos, const float* sin) {
    for (size_t k = 0; k < half; ++k) {
        const float first = x[k];
        const float second = x[k + half];
        x[k] = first * cos[k] - second * sin[k];
        x[k + half] = second * cos[k] + first * sin[k];
    }
}

float exponential(float x) {
    using namespace exp_constants;
    if (x < kLeast) return 0;
    if (x > kMost) return std::numeric_limits<float>::infinity();
    const float shifted = std::fma(x, kLog2E, kRound);
    const float n = shifted - kRound;
    const float r = std::fma(n, -kLn2Low, std::fma(n, -kLn2High, x));
    float p = kP[0];
    for (size_t at = 1; at < std::size(kP); ++at) p = std::fma(p, r, kP[at]);
    const float result = std::fma(p, r * r, r) + 1;
    if (std::isnan(x)) return x;
    return result * codec::power_of_two(static_cast<int>(n));
}

void silu_mul(const float* gate, const float* up, size_t count, float* out) {
    for (size_t k = 0; k < count; ++k) out[k] = gate[k] / (1 + exponential(-gate[k])) * up[k];
}

void add(float* x, const float* y, size_t count) {
    for (size_t k = 0; k < count; ++k) x[k] += y[k];
}

/// The larger; a NaN in `x` wins, one in `most` is lost.
float larger(float most, float x) { return most > x ? most : x; }

void softmax(float* scores, size_t count, size_t width, float scale, float* sums) {
    for (size_t t = 0; t < width; ++t) {
        float most = -std::numeric_limits<float>::infinity();
        for (size_t k = 0; k < count; ++k) most = larger(most, scores[k * width + t]);
        float sum = 0;
        for (size_t k = 0; k < count; ++k) {
            float& score = scores[k * width + t];
            score = exponential((score - most) * scale);
            sum += score;
        }
        sums[t] = sum;
    }
}

void divide(float* x, size_t count, size_t width, const float* sums) {
    for (size_t k = 0; k < count; ++k) {
        for (size_t t = 0; t < width; ++t) x[k * width + t] /= sums[t];
    }
}

ExpSum exp_sum(const float* x, size_t count) {
    float most = -std::numeric_limits<float>::infinity();
    for (size_t k = 0; k < count; ++k) most = larger(most, x[k]);
    double lanes[kLanes] = {};
    for (size_t k = 0; k < count; ++k) lanes[k % kLanes] += exponential(x[k] - most);
    return {most, sum_of_lanes(lanes)};
}

double weighted_difference(const float* reference, const float* x, size_t count, float max) {
    double lanes[kLanes] = {};
    for (size_t k = 0; k < count; ++k) {
        const double difference = static_cast<double>(reference[k]) - static_cast<double>(x[k]);
        lanes[k % kLanes] += static_cast<double>(exponential(reference[k] - max)) * difference;
    }
    return sum_of_lanes(lanes);
}

bool is_supported() { return true; }

}  // namespace

const Implementation scalar_implementation{
    .name = "scalar",
    .is_supported = is_supported,
    .dot = {dot<Loader::kHalf>, dot<Loader::kNestedHalf>, dot<Loader::kNestedFp8>, dot<Loader::kFp8>},
    .decode = {decode<Loader::kHalf>, decode<Loader::kNestedHalf>, decode<Loader::kNestedFp8>,
               decode<Loader::kFp8>},
    .tile_rows = 12,
    .tile_tokens = 16,
    .tile = tile,
    .tile_columns = tile_columns,
    .pack = pack,
    .unpack = unpack,
    .max_magnitude = max_magnitude,
    .quantise = quantise,
    .to_half = to_half,
    .rms_norm = rms_norm,
    .rope = rope,
    .silu_mul = silu_mul,
    .add = add,
    .softmax = softmax,
    .divide = divide,
    .exp_sum = exp_sum,
    .weighted_difference = weighted_difference,
};

}  // namespace nestedfp::cpu
