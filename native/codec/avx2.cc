#if defined(__x86_64__)

#include <cpuid.h>
#include <immintrin.h>

#include <algorithm>

#include "codec/crc32.h"
#include "codec/exact_range.h"
#include "codec/float16.h"
#include "codec/implementation.h"
#include "codec/target_region.h"

NESTEDFP_TARGET_BEGIN("avx2,f16c,bmi2,popcnt")

namespace nestedfp::codec {
namespace {

constexpr int kNearestEven = _MM_FROUND_TO_NEAREST_INT;

const RowKernels& tail(Dtype dtype) { return scalar_implementation.of(dtype); }

__m256i load(const uint8_t* bytes) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes)); }
__m128i load_half(const uint8_t* bytes) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)); }
void store(uint8_t* bytes, __m256i v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(bytes), v); }
void store_half(uint8_t* bytes, __m128i v) { _mm_storeu_si128(reinterpret_cast<__m128i*>(bytes), v); }

/// 8 words as floats, exact. The conversions of F16C ignore FTZ and DAZ for the half operand.
template <Dtype D>
__m256 values(const uint8_t* words) {
    if constexpr (D == Dtype::F16) return _mm256_cvtph_ps(load_half(words));
    if constexpr (D == Dtype::BF16) {
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_half(words)), 16));
    }
    if constexpr (D == Dtype::F32) return _mm256_castsi256_ps(load(words));
}

/// half(w * 2^-s) of 16 words.
template <Dtype D>
__m256i shifted_halves(const uint8_t* words, __m256 down) {
    const __m128i low = _mm256_cvtps_ph(_mm256_mul_ps(values<D>(words), down), kNearestEven);
    const __m128i high =
        _mm256_cvtps_ph(_mm256_mul_ps(values<D>(words + 8 * word_bytes(D)), down), kNearestEven);
    return _mm256_set_m128i(high, low);
}

struct Bytes {
    __m256i high;
    __m256i low;
};

/// Pulls 32 words apart into their bytes; packus works within 128-bit halves, the permutation restores order.
Bytes bytes_of(__m256i words0, __m256i words1) {
    const __m256i low_byte = _mm256_set1_epi16(0xFF);
    const __m256i high = _mm256_packus_epi16(_mm256_srli_epi16(words0, 8), _mm256_srli_epi16(words1, 8));
    const __m256i low =
        _mm256_packus_epi16(_mm256_and_si256(words0, low_byte), _mm256_and_si256(words1, low_byte));
    return {_mm256_permute4x64_epi64(high, 0xD8), _mm256_permute4x64_epi64(low, 0xD8)};
}

/// The encoder of FORMAT.md §1 on 32 words given as bytes: with odd = mag >> 7 & 1 and rest = mag & 0x7F,
/// (mag + 63 + odd) >> 7 is mag >> 7, plus one where rest > 64 - odd.
__m256i upper_of(Bytes words) {
    const __m256i bit7 = _mm256_cmpgt_epi8(_mm256_setzero_si256(), words.low);  // -1 where set
    const __m256i truncated = _mm256_sub_epi8(_mm256_add_epi8(words.high, words.high), bit7);
    const __m256i odd = _mm256_and_si256(truncated, _mm256_set1_epi8(1));
    const __m256i rest = _mm256_and_si256(words.low, _mm256_set1_epi8(0x7F));
    // Not rest + odd > 64: the comparison is signed, and the sum may be 128.
    const __m256i round_up = _mm256_cmpgt_epi8(rest, _mm256_sub_epi8(_mm256_set1_epi8(64), odd));
    const __m256i rounded = _mm256_min_epu8(_mm256_sub_epi8(truncated, round_up), _mm256_set1_epi8(0x7E));
    return _mm256_or_si256(_mm256_and_si256(words.high, _mm256_set1_epi8(-128)), rounded);
}

/// The high bytes of reconstruct(upper, lower).
__m256i high_of(__m256i upper, __m256i lower) {
    const __m256i bit7 = _mm256_cmpgt_epi8(_mm256_setzero_si256(), lower);
    const __m256i rounded_up = _mm256_and_si256(_mm256_xor_si256(upper, bit7), _mm256_set1_epi8(1));
    const __m256i doubled = _mm256_sub_epi8(upper, rounded_up);
    // There is no byte shift; the mask drops what the 16-bit shift brings in from the neighbour.
    const __m256i magnitude = _mm256_and_si256(_mm256_srli_epi16(doubled, 1), _mm256_set1_epi8(0x3F));
    return _mm256_or_si256(_mm256_and_si256(upper, _mm256_set1_epi8(-128)), magnitude);
}

/// 8 halves times 2^s, rounded to the dtype.
template <Dtype D>
void store_shifted(uint8_t* words, __m128i halves, __m256 up) {
    const __m256 value = _mm256_mul_ps(_mm256_cvtph_ps(halves), up);
    if constexpr (D == Dtype::F16) store_half(words, _mm256_cvtps_ph(value, kNearestEven));
    if constexpr (D == Dtype::BF16) {
        const __m256i bits = _mm256_castps_si256(value);
        const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
        const __m256i rounded =
            _mm256_srli_epi32(_mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7FFF))), 16);
        const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(rounded, rounded), 0xD8);
        store_half(words, _mm256_castsi256_si128(packed));
    }
    if constexpr (D == Dtype::F32) store(words, _mm256_castps_si256(value));
}

struct LossMasks {
    uint32_t inexact;
    uint32_t underflow;
};

/// One bit for each of 8 words.
template <Dtype D>
LossMasks losses_of(const uint8_t* words, __m256 down, __m256 up) {
    const __m256 source = values<D>(words);
    const __m256 kept =
        _mm256_mul_ps(_mm256_cvtph_ps(_mm256_cvtps_ph(_mm256_mul_ps(source, down), kNearestEven)), up);
    const __m256i same = _mm256_cmpeq_epi32(_mm256_castps_si256(source), _mm256_castps_si256(kept));
    const __m256 zero = _mm256_cmp_ps(kept, _mm256_setzero_ps(), _CMP_EQ_OQ);
    const uint32_t inexact = ~static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(same))) & 0xFF;
    return {inexact, inexact & static_cast<uint32_t>(_mm256_movemask_ps(zero))};
}

/// Whether 16 words are all in the range; zeros are not.
bool all_in(ExactRange range, const uint8_t* words) {
    const __m256i magnitudes = _mm256_and_si256(load(words), _mm256_set1_epi16(0x7FFF));
    const __m256i from_least =
        _mm256_sub_epi16(magnitudes, _mm256_set1_epi16(static_cast<short>(range.least)));
    const __m256i beyond =
        _mm256_subs_epu16(from_least, _mm256_set1_epi16(static_cast<short>(range.count - 1)));
    return _mm256_testz_si256(beyond, beyond) != 0;
}

/// One bit for each of 16 words.
template <Dtype D>
LossMasks block_losses(const uint8_t* words, int shift) {
    if constexpr (D != Dtype::F32) {
        if (all_in(exact_range<D>(shift), words)) return {0, 0};
    }
    const __m256 down = _mm256_set1_ps(power_of_two(-shift));
    const __m256 up = _mm256_set1_ps(power_of_two(shift));
    const LossMasks low = losses_of<D>(words, down, up);
    const LossMasks high = losses_of<D>(words + 8 * word_bytes(D), down, up);
    return {low.inexact | high.inexact << 8, low.underflow | high.underflow << 8};
}

template <Dtype D>
__m256i max_words(__m256i largest, __m256i words) {
    if constexpr (D == Dtype::F32) {
        return _mm256_max_epu32(largest, _mm256_and_si256(words, _mm256_set1_epi32(0x7FFFFFFF)));
    } else {
        return _mm256_max_epu16(largest, _mm256_and_si256(words, _mm256_set1_epi16(0x7FFF)));
    }
}

template <Dtype D>
uint32_t max_magnitude(const uint8_t* words, size_t count) {
    constexpr size_t kStep = 64 / word_bytes(D);
    __m256i largest0 = _mm256_setzero_si256();
    __m256i largest1 = _mm256_setzero_si256();
    size_t k = 0;
    for (; k + kStep <= count; k += kStep) {
        const uint8_t* at = words + k * word_bytes(D);
        largest0 = max_words<D>(largest0, load(at));
        largest1 = max_words<D>(largest1, load(at + 32));
    }
    alignas(32) uint8_t lanes[32];
    store(lanes, max_words<D>(largest0, largest1));
    return std::max(tail(D).max_magnitude(lanes, 32 / word_bytes(D)),
                    tail(D).max_magnitude(words + k * word_bytes(D), count - k));
}

template <Dtype D>
Losses count_losses(const uint8_t* words, size_t count, int shift) {
    Losses losses;
    size_t k = 0;
    for (; k + 16 <= count; k += 16) {
        const LossMasks masks = block_losses<D>(words + k * word_bytes(D), shift);
        losses.inexact += static_cast<unsigned>(_mm_popcnt_u32(masks.inexact));
        losses.underflow += static_cast<unsigned>(_mm_popcnt_u32(masks.underflow));
    }
    const Losses rest = tail(D).count_losses(words + k * word_bytes(D), count - k, shift);
    return {losses.inexact + rest.inexact, losses.underflow + rest.underflow};
}

template <Dtype D>
void collect_patches(const uint8_t* words, size_t count, int shift, size_t first, PatchSink& sink) {
    size_t k = 0;
    for (; k + 16 <= count; k += 16) {
        sink.add_bits(first + k, block_losses<D>(words + k * word_bytes(D), shift).inexact);
    }
    tail(D).collect_patches(words + k * word_bytes(D), count - k, shift, first + k, sink);
}

/// decompose of 32 words.
template <Dtype D>
void split_block(const uint8_t* words, int shift, __m256 down, uint8_t* upper, uint8_t* lower) {
    const uint8_t* next = words + 16 * word_bytes(D);
    const bool plain = D == Dtype::F16 && shift == 0;
    const Bytes bytes = plain ? bytes_of(load(words), load(next))
                              : bytes_of(shifted_halves<D>(words, down), shifted_halves<D>(next, down));
    store(upper, upper_of(bytes));
    store(lower, bytes.low);
}

template <Dtype D>
void split(const uint8_t* words, size_t count, int shift, uint8_t* upper, uint8_t* lower) {
    const __m256 down = _mm256_set1_ps(power_of_two(-shift));
    size_t k = 0;
    // Stores across cache lines cost the most here. After one block anywhere, go on (overlapping it) from
    // where `upper` is aligned; the two planes mostly have the same alignment.
    if (count >= 32) {
        split_block<D>(words, shift, down, upper, lower);
        k = 32 - reinterpret_cast<uintptr_t>(upper) % 32;
    }
    for (; k + 32 <= count; k += 32) {
        split_block<D>(words + k * word_bytes(D), shift, down, upper + k, lower + k);
    }
    tail(D).split(words + k * word_bytes(D), count - k, shift, upper + k, lower + k);
}

template <Dtype D>
void join(const uint8_t* upper, const uint8_t* lower, size_t count, int shift, uint8_t* words) {
    const __m256 up = _mm256_set1_ps(power_of_two(shift));
    const bool plain = D == Dtype::F16 && shift == 0;
    size_t k = 0;
    for (; k + 32 <= count; k += 32) {
        // unpack works within 128-bit halves, so the quarters are put in place before.
        const __m256i upper_bytes = _mm256_permute4x64_epi64(load(upper + k), 0xD8);
        const __m256i lower_bytes = _mm256_permute4x64_epi64(load(lower + k), 0xD8);
        const __m256i high_bytes = high_of(upper_bytes, lower_bytes);
        const __m256i halves0 = _mm256_unpacklo_epi8(lower_bytes, high_bytes);
        const __m256i halves1 = _mm256_unpackhi_epi8(lower_bytes, high_bytes);
        uint8_t* at = words + k * word_bytes(D);
        if (plain) {
            store(at, halves0);
            store(at + 32, halves1);
        } else {
            constexpr size_t kStep = 8 * word_bytes(D);
            store_shifted<D>(at, _mm256_castsi256_si128(halves0), up);
            store_shifted<D>(at + kStep, _mm256_extracti128_si256(halves0, 1), up);
            store_shifted<D>(at + 2 * kStep, _mm256_castsi256_si128(halves1), up);
            store_shifted<D>(at + 3 * kStep, _mm256_extracti128_si256(halves1, 1), up);
        }
    }
    tail(D).join(upper + k, lower + k, count - k, shift, words + k * word_bytes(D));
}

/// E4M3(upper) * 2^-8 of 8 bytes.
__m256 upper_values(const uint8_t* upper) {
    const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(upper));
    const __m128i top = _mm_unpacklo_epi8(_mm_setzero_si128(), bytes);  // upper << 8
    const __m128i sign = _mm_and_si128(top, _mm_set1_epi16(-0x8000));
    return _mm256_cvtph_ps(_mm_or_si128(sign, _mm_srli_epi16(_mm_slli_epi16(top, 1), 2)));
}

/// Adds to 4 lanes.
void add_squares(double* signal, double* noise, __m128 source, __m128 view) {
    const __m256d value = _mm256_cvtps_pd(source);
    const __m256d error = _mm256_sub_pd(value, _mm256_cvtps_pd(view));
    _mm256_storeu_pd(signal, _mm256_add_pd(_mm256_loadu_pd(signal), _mm256_mul_pd(value, value)));
    _mm256_storeu_pd(noise, _mm256_add_pd(_mm256_loadu_pd(noise), _mm256_mul_pd(error, error)));
}

template <Dtype D>
void add_noise(const uint8_t* words, const uint8_t* upper, size_t count, int shift, NoiseLanes& lanes) {
    const __m256 up = _mm256_set1_ps(power_of_two(shift));
    size_t k = 0;
    for (; k + 8 <= count; k += 8) {
        const __m256 source = values<D>(words + k * word_bytes(D));
        const __m256 view = _mm256_mul_ps(upper_values(upper + k), up);
        add_squares(lanes.signal.data(), lanes.noise.data(), _mm256_castps256_ps128(source),
                    _mm256_castps256_ps128(view));
        add_squares(lanes.signal.data() + 4, lanes.noise.data() + 4, _mm256_extractf128_ps(source, 1),
                    _mm256_extractf128_ps(view, 1));
    }
    tail(D).add_noise(words + k * word_bytes(D), upper + k, count - k, shift, lanes);
}

size_t count_non_canonical(const uint8_t* upper, const uint8_t* lower, size_t count) {
    size_t wrong = 0;
    size_t k = 0;
    for (; k + 32 <= count; k += 32) {
        const __m256i upper_bytes = load(upper + k);
        const __m256i lower_bytes = load(lower + k);
        const __m256i again = upper_of({high_of(upper_bytes, lower_bytes), lower_bytes});
        const int same = _mm256_movemask_epi8(_mm256_cmpeq_epi8(again, upper_bytes));
        wrong += static_cast<unsigned>(_mm_popcnt_u32(~static_cast<uint32_t>(same)));
    }
    return wrong + scalar_implementation.count_non_canonical(upper + k, lower + k, count - k);
}

template <Dtype D>
constexpr RowKernels kKernels{max_magnitude<D>, count_losses<D>, collect_patches<D>,
                              split<D>,         join<D>,         add_noise<D>};

}  // namespace
}  // namespace nestedfp::codec

NESTEDFP_TARGET_END

namespace nestedfp::codec {
namespace {

/// F16C has no name in __builtin_cpu_supports of every compiler; its state is AVX's, which "avx2" has
/// checked.
bool has_f16c() {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}

bool is_supported() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") &&
           __builtin_cpu_supports("popcnt") && __builtin_cpu_supports("pclmul") && has_f16c();
}

}  // namespace

const Implementation avx2_implementation{"avx2",
                                         is_supported,
                                         {kKernels<Dtype::F16>, kKernels<Dtype::BF16>, kKernels<Dtype::F32>},
                                         count_non_canonical,
                                         crc32_pclmul};

}  // namespace nestedfp::codec

#endif
