#if defined(__aarch64__)

#include <arm_neon.h>

#include <algorithm>
#include <cstring>

#include "codec/crc32.h"
#include "codec/float16.h"
#include "codec/implementation.h"

// Everything here is in the base instruction set of AArch64. avx2.cc explains the steps. FPCR's FZ has no say
// in the conversions from and to half (its FZ16 and AHP bits do, and no program sets those).
namespace nestedfp::codec {
namespace {

const RowKernels& tail(Dtype dtype) { return scalar_implementation.of(dtype); }

/// Words may lie at odd addresses, so they are loaded as bytes.
uint16x8_t load_words(const uint8_t* bytes) { return vreinterpretq_u16_u8(vld1q_u8(bytes)); }

/// 4 words as floats, exact.
template <Dtype D>
float32x4_t values(const uint8_t* words) {
    if constexpr (D == Dtype::F16) return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(words)));
    if constexpr (D == Dtype::BF16) {
        return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(words)), 16));
    }
    if constexpr (D == Dtype::F32) return vreinterpretq_f32_u8(vld1q_u8(words));
}

/// half(w * 2^-s) of 8 words. The default rounding mode is to nearest even.
template <Dtype D>
uint16x8_t shifted_halves(const uint8_t* words, float down) {
    const float16x4_t low = vcvt_f16_f32(vmulq_n_f32(values<D>(words), down));
    const float16x4_t high = vcvt_f16_f32(vmulq_n_f32(values<D>(words + 4 * word_bytes(D)), down));
    return vreinterpretq_u16_f16(vcombine_f16(low, high));
}

struct Bytes {
    uint8x16_t high;
    uint8x16_t low;
};

Bytes bytes_of(uint16x8_t words0, uint16x8_t words1) {
    const uint8x16_t bytes0 = vreinterpretq_u8_u16(words0);
    const uint8x16_t bytes1 = vreinterpretq_u8_u16(words1);
    return {vuzp2q_u8(bytes0, bytes1), vuzp1q_u8(bytes0, bytes1)};
}

uint8x16_t upper_of(Bytes words) {
    const uint8x16_t truncated = vsliq_n_u8(vshrq_n_u8(words.low, 7), words.high, 1);
    const uint8x16_t rest = vandq_u8(words.low, vdupq_n_u8(0x7F));
    const uint8x16_t odd = vandq_u8(truncated, vdupq_n_u8(1));
    const uint8x16_t round_up = vcgtq_u8(vaddq_u8(rest, odd), vdupq_n_u8(64));  // all ones where true
    const uint8x16_t rounded = vminq_u8(vsubq_u8(truncated, round_up), vdupq_n_u8(0x7E));
    return vbslq_u8(vdupq_n_u8(0x80), words.high, rounded);
}

uint8x16_t high_of(uint8x16_t upper, uint8x16_t lower) {
    const uint8x16_t rounded_up = vandq_u8(veorq_u8(upper, vshrq_n_u8(lower, 7)), vdupq_n_u8(1));
    const uint8x16_t magnitude = vandq_u8(vshrq_n_u8(vsubq_u8(upper, rounded_up), 1), vdupq_n_u8(0x3F));
    return vbslq_u8(vdupq_n_u8(0x80), upper, magnitude);
}

/// 4 halves times 2^s, rounded to the dtype.
template <Dtype D>
void store_shifted(uint8_t* words, uint16x4_t halves, float up) {
    const float32x4_t value = vmulq_n_f32(vcvt_f32_f16(vreinterpret_f16_u16(halves)), up);
    if constexpr (D == Dtype::F16) vst1_u8(words, vreinterpret_u8_f16(vcvt_f16_f32(value)));
    if constexpr (D == Dtype::BF16) {
        const uint32x4_t bits = vreinterpretq_u32_f32(value);
        const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
        const uint32x4_t rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7FFF)));
        vst1_u8(words, vreinterpret_u8_u16(vshrn_n_u32(rounded, 16)));
    }
    if constexpr (D == Dtype::F32) vst1q_u8(words, vreinterpretq_u8_f32(value));
}

struct LossMasks {
    uint32_t inexact;
    uint32_t underflow;
};

/// One bit for each lane that is all ones.
uint32_t bits_of(uint32x4_t lanes) {
    const uint32_t weights[4] = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(lanes, vld1q_u32(weights)));
}

/// One bit for each of 4 words.
template <Dtype D>
LossMasks losses_of(const uint8_t* words, float down, float up) {
    const float32x4_t source = values<D>(words);
    const float32x4_t kept = vmulq_n_f32(vcvt_f32_f16(vcvt_f16_f32(vmulq_n_f32(source, down))), up);
    const uint32x4_t inexact =
        vmvnq_u32(vceqq_u32(vreinterpretq_u32_f32(source), vreinterpretq_u32_f32(kept)));
    if (vmaxvq_u32(inexact) == 0) return {0, 0};
    return {bits_of(inexact), bits_of(vandq_u32(inexact, vceqzq_f32(kept)))};
}

template <Dtype D>
uint32_t max_magnitude(const uint8_t* words, size_t count) {
    constexpr size_t kStep = 16 / word_bytes(D);
    uint32_t largest = 0;
    size_t k = 0;
    if constexpr (D == Dtype::F32) {
        uint32x4_t lanes = vdupq_n_u32(0);
        for (; k + kStep <= count; k += kStep) {
            const uint32x4_t bits = vreinterpretq_u32_u8(vld1q_u8(words + k * 4));
            lanes = vmaxq_u32(lanes, vandq_u32(bits, vdupq_n_u32(0x7FFFFFFF)));
        }
        largest = vmaxvq_u32(lanes);
    } else {
        uint16x8_t lanes = vdupq_n_u16(0);
        for (; k + kStep <= count; k += kStep) {
            lanes = vmaxq_u16(lanes, vandq_u16(load_words(words + k * 2), vdupq_n_u16(0x7FFF)));
        }
        largest = vmaxvq_u16(lanes);
    }
    return std::max(largest, tail(D).max_magnitude(words + k * word_bytes(D), count - k));
}

template <Dtype D>
Losses count_losses(const uint8_t* words, size_t count, int shift) {
    Losses losses;
    size_t k = 0;
    for (; k + 4 <= count; k += 4) {
        const LossMasks masks =
            losses_of<D>(words + k * word_bytes(D), power_of_two(-shift), power_of_two(shift));
        losses.inexact += static_cast<unsigned>(__builtin_popcount(masks.inexact));
        losses.underflow += static_cast<unsigned>(__builtin_popcount(masks.underflow));
    }
    const Losses rest = tail(D).count_losses(words + k * word_bytes(D), count - k, shift);
    return {losses.inexact + rest.inexact, losses.underflow + rest.underflow};
}

template <Dtype D>
void collect_patches(const uint8_t* words, size_t count, int shift, size_t first, PatchSink& sink) {
    size_t k = 0;
    for (; k + 4 <= count; k += 4) {
        const LossMasks masks =
            losses_of<D>(words + k * word_bytes(D), power_of_two(-shift), power_of_two(shift));
        sink.add_bits(first + k, masks.inexact);
    }
    tail(D).collect_patches(words + k * word_bytes(D), count - k, shift, first + k, sink);
}

template <Dtype D>
void split(const uint8_t* words, size_t count, int shift, uint8_t* upper, uint8_t* lower) {
    const float down = power_of_two(-shift);
    const bool plain = D == Dtype::F16 && shift == 0;
    size_t k = 0;
    for (; k + 16 <= count; k += 16) {
        const uint8_t* at = words + k * word_bytes(D);
        const uint8_t* next = at + 8 * word_bytes(D);
        const Bytes bytes = plain ? bytes_of(load_words(at), load_words(next))
                                  : bytes_of(shifted_halves<D>(at, down), shifted_halves<D>(next, down));
        vst1q_u8(upper + k, upper_of(bytes));
        vst1q_u8(lower + k, bytes.low);
    }
    tail(D).split(words + k * word_bytes(D), count - k, shift, upper + k, lower + k);
}

template <Dtype D>
void join(const uint8_t* upper, const uint8_t* lower, size_t count, int shift, uint8_t* words) {
    const float up = power_of_two(shift);
    const bool plain = D == Dtype::F16 && shift == 0;
    size_t k = 0;
    for (; k + 16 <= count; k += 16) {
        const uint8x16_t lower_bytes = vld1q_u8(lower + k);
        const uint8x16_t high_bytes = high_of(vld1q_u8(upper + k), lower_bytes);
        const uint8x16_t bytes0 = vzip1q_u8(lower_bytes, high_bytes);
        const uint8x16_t bytes1 = vzip2q_u8(lower_bytes, high_bytes);
        uint8_t* at = words + k * word_bytes(D);
        if (plain) {
            vst1q_u8(at, bytes0);
            vst1q_u8(at + 16, bytes1);
        } else {
            constexpr size_t kStep = 4 * word_bytes(D);
            const uint16x8_t halves0 = vreinterpretq_u16_u8(bytes0);
            const uint16x8_t halves1 = vreinterpretq_u16_u8(bytes1);
            store_shifted<D>(at, vget_low_u16(halves0), up);
            store_shifted<D>(at + kStep, vget_high_u16(halves0), up);
            store_shifted<D>(at + 2 * kStep, vget_low_u16(halves1), up);
            store_shifted<D>(at + 3 * kStep, vget_high_u16(halves1), up);
        }
    }
    tail(D).join(upper + k, lower + k, count - k, shift, words + k * word_bytes(D));
}

/// E4M3(upper) * 2^-8 of 4 bytes.
float32x4_t upper_values(const uint8_t* upper) {
    uint32_t bytes;
    std::memcpy(&bytes, upper, 4);
    const uint16x4_t top = vshl_n_u16(vget_low_u16(vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(bytes)))), 8);
    const uint16x4_t magnitude = vshr_n_u16(vshl_n_u16(top, 1), 2);
    return vcvt_f32_f16(vreinterpret_f16_u16(vorr_u16(vand_u16(top, vdup_n_u16(0x8000)), magnitude)));
}

/// Adds to 2 lanes.
void add_squares(double* signal, double* noise, float64x2_t value, float64x2_t view) {
    const float64x2_t error = vsubq_f64(value, view);
    vst1q_f64(signal, vaddq_f64(vld1q_f64(signal), vmulq_f64(value, value)));
    vst1q_f64(noise, vaddq_f64(vld1q_f64(noise), vmulq_f64(error, error)));
}

template <Dtype D>
void add_noise(const uint8_t* words, const uint8_t* upper, size_t count, int shift, NoiseLanes& lanes) {
    const float up = power_of_two(shift);
    size_t k = 0;
    for (; k + 8 <= count; k += 8) {
        for (size_t lane = 0; lane < 8; lane += 4) {
            const float32x4_t source = values<D>(words + (k + lane) * word_bytes(D));
            const float32x4_t view = vmulq_n_f32(upper_values(upper + k + lane), up);
            double* signal = lanes.signal.data() + lane;
            double* noise = lanes.noise.data() + lane;
            add_squares(signal, noise, vcvt_f64_f32(vget_low_f32(source)), vcvt_f64_f32(vget_low_f32(view)));
            add_squares(signal + 2, noise + 2, vcvt_high_f64_f32(source), vcvt_high_f64_f32(view));
        }
    }
    tail(D).add_noise(words + k * word_bytes(D), upper + k, count - k, shift, lanes);
}

size_t count_non_canonical(const uint8_t* upper, const uint8_t* lower, size_t count) {
    size_t wrong = 0;
    size_t k = 0;
    for (; k + 16 <= count; k += 16) {
        const uint8x16_t upper_bytes = vld1q_u8(upper + k);
        const uint8x16_t lower_bytes = vld1q_u8(lower + k);
        const uint8x16_t same =
            vceqq_u8(upper_of({high_of(upper_bytes, lower_bytes), lower_bytes}), upper_bytes);
        wrong += vaddvq_u8(vandq_u8(vmvnq_u8(same), vdupq_n_u8(1)));
    }
    return wrong + scalar_implementation.count_non_canonical(upper + k, lower + k, count - k);
}

template <Dtype D>
constexpr RowKernels kKernels{max_magnitude<D>, count_losses<D>, collect_patches<D>,
                              split<D>,         join<D>,         add_noise<D>};

bool is_supported() { return true; }

}  // namespace

const Implementation neon_implementation{"neon",
                                         is_supported,
                                         {kKernels<Dtype::F16>, kKernels<Dtype::BF16>, kKernels<Dtype::F32>},
                                         count_non_canonical,
                                         crc32_arm};

}  // namespace nestedfp::codec

#endif
