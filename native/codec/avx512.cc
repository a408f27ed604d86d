#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>

#include "codec/crc32.h"
#include "codec/exact_range.h"
#include "codec/float16.h"
#include "codec/implementation.h"
#include "codec/target_region.h"

// GCC 11 and 12 warn of their own headers' deliberately undefined operands (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

// The steps are those of avx2.cc, which explains them, on twice the width and with mask registers.
NESTEDFP_TARGET_BEGIN("avx512f,avx512bw,avx512vl,avx512dq,f16c,bmi2,popcnt")

namespace nestedfp::codec {
namespace {

constexpr int kNearestEven = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

const RowKernels& tail(Dtype dtype) { return scalar_implementation.of(dtype); }

__m512i load(const uint8_t* bytes) { return _mm512_loadu_si512(bytes); }
__m256i load_half(const uint8_t* bytes) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes));
}
void store(uint8_t* bytes, __m512i v) { _mm512_storeu_si512(bytes, v); }
void store_half(uint8_t* bytes, __m256i v) { _mm256_storeu_si256(reinterpret_cast<__m256i*>(bytes), v); }

/// 16 words as floats, exact.
template <Dtype D>
__m512 values(const uint8_t* words) {
    if constexpr (D == Dtype::F16) return _mm512_cvtph_ps(load_half(words));
    if constexpr (D == Dtype::BF16) {
        return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(load_half(words)), 16));
    }
    if constexpr (D == Dtype::F32) return _mm512_castsi512_ps(load(words));
}

/// half(w * 2^-s) of 32 words.
template <Dtype D>
__m512i shifted_halves(const uint8_t* words, __m512 down) {
    const __m256i low = _mm512_cvtps_ph(_mm512_mul_ps(values<D>(words), down), kNearestEven);
    const __m256i high =
        _mm512_cvtps_ph(_mm512_mul_ps(values<D>(words + 16 * word_bytes(D)), down), kNearestEven);
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

struct Bytes {
    __m512i high;
    __m512i low;
};

/// The bytes of 64 words in the order that packus leaves: quarter by quarter, words0 and words1 in turn.
Bytes packed_bytes_of(__m512i words0, __m512i words1) {
    const __m512i low_byte = _mm512_set1_epi16(0xFF);
    return {
        _mm512_packus_epi16(_mm512_srli_epi16(words0, 8), _mm512_srli_epi16(words1, 8)),
        _mm512_packus_epi16(_mm512_and_si512(words0, low_byte), _mm512_and_si512(words1, low_byte)),
    };
}

__m512i unpacked_order(__m512i packed) {
    return _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), packed);
}

__m512i unpack_order(__m512i bytes) {
    return _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7), bytes);
}

/// Bits of `a` where `select` is set, else bits of `b`.
__m512i bit_select(__m512i select, __m512i a, __m512i b) {
    return _mm512_ternarylogic_epi64(select, a, b, 0xCA);
}

/// rest + odd > 64 is 2 * rest + odd > 128, and doubling a byte drops the bit above `rest`.
__m512i upper_of(Bytes words) {
    const __m512i minus_one = _mm512_set1_epi8(-1);
    const __m512i doubled = _mm512_add_epi8(words.high, words.high);
    const __m512i truncated =
        _mm512_mask_sub_epi8(doubled, _mm512_movepi8_mask(words.low), doubled, minus_one);
    const __m512i twice_rest = _mm512_add_epi8(words.low, words.low);
    const __m512i rest_and_odd = bit_select(_mm512_set1_epi8(1), truncated, twice_rest);
    const __mmask64 round_up = _mm512_cmpgt_epu8_mask(rest_and_odd, _mm512_set1_epi8(-128));
    const __m512i rounded = _mm512_min_epu8(_mm512_mask_sub_epi8(truncated, round_up, truncated, minus_one),
                                            _mm512_set1_epi8(0x7E));
    return bit_select(_mm512_set1_epi8(-128), words.high, rounded);
}

__m512i high_of(__m512i upper, __m512i lower) {
    const __mmask64 rounded_up =
        _mm512_mask_testn_epi8_mask(_mm512_movepi8_mask(lower), upper, _mm512_set1_epi8(1));
    // An odd upper byte loses its last bit in the shift, so only even ones need the subtraction, after it.
    const __m512i halved = _mm512_srli_epi16(upper, 1);
    const __m512i magnitude = _mm512_mask_add_epi8(halved, rounded_up, halved, _mm512_set1_epi8(-1));
    const __m512i sign = _mm512_and_si512(upper, _mm512_set1_epi8(-128));
    return bit_select(_mm512_set1_epi8(0x3F), magnitude, sign);
}

/// 16 halves times 2^s, rounded to the dtype.
template <Dtype D>
void store_shifted(uint8_t* words, __m256i halves, __m512 up) {
    const __m512 value = _mm512_mul_ps(_mm512_cvtph_ps(halves), up);
    if constexpr (D == Dtype::F16) store_half(words, _mm512_cvtps_ph(value, kNearestEven));
    if constexpr (D == Dtype::BF16) {
        const __m512i bits = _mm512_castps_si512(value);
        const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
        const __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
        store_half(words, _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
    }
    if constexpr (D == Dtype::F32) store(words, _mm512_castps_si512(value));
}

struct LossMasks {
    uint32_t inexact;
    uint32_t underflow;
};

/// One bit for each of 16 words.
template <Dtype D>
LossMasks losses_of(const uint8_t* words, __m512 down, __m512 up) {
    const __m512 source = values<D>(words);
    const __m512 kept =
        _mm512_mul_ps(_mm512_cvtph_ps(_mm512_cvtps_ph(_mm512_mul_ps(source, down), kNearestEven)), up);
    const __mmask16 inexact =
        _mm512_cmpneq_epi32_mask(_mm512_castps_si512(source), _mm512_castps_si512(kept));
    return {inexact, _mm512_mask_cmp_ps_mask(inexact, kept, _mm512_setzero_ps(), _CMP_EQ_OQ)};
}

/// Whether 32 words are all in the range; zeros are not.
bool all_in(ExactRange range, const uint8_t* words) {
    const __m512i magnitudes = _mm512_and_si512(load(words), _mm512_set1_epi16(0x7FFF));
    const __m512i from_least =
        _mm512_sub_epi16(magnitudes, _mm512_set1_epi16(static_cast<short>(range.least)));
    return _mm512_cmpge_epu16_mask(from_least, _mm512_set1_epi16(static_cast<short>(range.count))) == 0;
}

/// One bit for each of 32 words.
template <Dtype D>
LossMasks block_losses(const uint8_t* words, int shift) {
    if constexpr (D != Dtype::F32) {
        if (all_in(exact_range<D>(shift), words)) return {0, 0};
    }
    const __m512 down = _mm512_set1_ps(power_of_two(-shift));
    const __m512 up = _mm512_set1_ps(power_of_two(shift));
    const LossMasks low = losses_of<D>(words, down, up);
    const LossMasks high = losses_of<D>(words + 16 * word_bytes(D), down, up);
    return {low.inexact | high.inexact << 16, low.underflow | high.underflow << 16};
}

template <Dtype D>
__m512i max_words(__m512i largest, __m512i words) {
    if constexpr (D == Dtype::F32) {
        return _mm512_max_epu32(largest, _mm512_and_si512(words, _mm512_set1_epi32(0x7FFFFFFF)));
    } else {
        return _mm512_max_epu16(largest, _mm512_and_si512(words, _mm512_set1_epi16(0x7FFF)));
    }
}

template <Dtype D>
uint32_t max_magnitude(const uint8_t* words, size_t count) {
    constexpr size_t kStep = 128 / word_bytes(D);
    __m512i largest0 = _mm512_setzero_si512();
    __m512i largest1 = _mm512_setzero_si512();
    size_t k = 0;
    for (; k + kStep <= count; k += kStep) {
        const uint8_t* at = words + k * word_bytes(D);
        largest0 = max_words<D>(largest0, load(at));
        largest1 = max_words<D>(largest1, load(at + 64));
    }
    alignas(64) uint8_t lanes[64];
    store(lanes, max_words<D>(largest0, largest1));
    return std::max(tail(D).max_magnitude(lanes, 64 / word_bytes(D)),
                    tail(D).max_magnitude(words + k * word_bytes(D), count - k));
}

template <Dtype D>
Losses count_losses(const uint8_t* words, size_t count, int shift) {
    Losses losses;
    size_t k = 0;
    for (; k + 32 <= count; k += 32) {
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
    for (; k + 32 <= count; k += 32) {
        sink.add_bits(first + k, block_losses<D>(words + k * word_bytes(D), shift).inexact);
    }
    tail(D).collect_patches(words + k * word_bytes(D), count - k, shift, first + k, sink);
}

/// decompose of 64 words.
template <Dtype D>
void split_block(const uint8_t* words, int shift, __m512 down, uint8_t* upper, uint8_t* lower) {
    const uint8_t* next = words + 32 * word_bytes(D);
    const bool plain = D == Dtype::F16 && shift == 0;
    const Bytes bytes = plain
                            ? packed_bytes_of(load(words), load(next))
                            : packed_bytes_of(shifted_halves<D>(words, down), shifted_halves<D>(next, down));
    store(upper, unpacked_order(upper_of(bytes)));
    store(lower, unpacked_order(bytes.low));
}

template <Dtype D>
void split(const uint8_t* words, size_t count, int shift, uint8_t* upper, uint8_t* lower) {
    const __m512 down = _mm512_set1_ps(power_of_two(-shift));
    size_t k = 0;
    if (count >= 64) {
        split_block<D>(words, shift, down, upper, lower);
        k = 64 - reinterpret_cast<uintptr_t>(upper) % 64;
    }
    for (; k + 64 <= count; k += 64) {
        split_block<D>(words + k * word_bytes(D), shift, down, upper + k, lower + k);
    }
    tail(D).split(words + k * word_bytes(D), count - k, shift, upper + k, lower + k);
}

template <Dtype D>
void join(const uint8_t* upper, const uint8_t* lower, size_t count, int shift, uint8_t* words) {
    const __m512 up = _mm512_set1_ps(power_of_two(shift));
    const bool plain = D == Dtype::F16 && shift == 0;
    size_t k = 0;
    for (; k + 64 <= count; k += 64) {
        const __m512i upper_bytes = unpack_order(load(upper + k));
        const __m512i lower_bytes = unpack_order(load(lower + k));
        const __m512i high_bytes = high_of(upper_bytes, lower_bytes);
        const __m512i halves0 = _mm512_unpacklo_epi8(lower_bytes, high_bytes);
        const __m512i halves1 = _mm512_unpackhi_epi8(lower_bytes, high_bytes);
        uint8_t* at = words + k * word_bytes(D);
        if (plain) {
            store(at, halves0);
            store(at + 64, halves1);
        } else {
            constexpr size_t kStep = 16 * word_bytes(D);
            store_shifted<D>(at, _mm512_castsi512_si256(halves0), up);
            store_shifted<D>(at + kStep, _mm512_extracti64x4_epi64(halves0, 1), up);
            store_shifted<D>(at + 2 * kStep, _mm512_castsi512_si256(halves1), up);
            store_shifted<D>(at + 3 * kStep, _mm512_extracti64x4_epi64(halves1, 1), up);
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

/// 8 words as floats.
template <Dtype D>
__m256 half_values(const uint8_t* words) {
    if constexpr (D == Dtype::F32) return _mm256_loadu_ps(reinterpret_cast<const float*>(words));
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(words));
    if constexpr (D == Dtype::F16) return _mm256_cvtph_ps(bits);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}

template <Dtype D>
void add_noise(const uint8_t* words, const uint8_t* upper, size_t count, int shift, NoiseLanes& lanes) {
    const __m256 up = _mm256_set1_ps(power_of_two(shift));
    __m512d signal = _mm512_loadu_pd(lanes.signal.data());
    __m512d noise = _mm512_loadu_pd(lanes.noise.data());
    size_t k = 0;
    for (; k + 8 <= count; k += 8) {
        const __m512d value = _mm512_cvtps_pd(half_values<D>(words + k * word_bytes(D)));
        const __m512d error =
            _mm512_sub_pd(value, _mm512_cvtps_pd(_mm256_mul_ps(upper_values(upper + k), up)));
        signal = _mm512_add_pd(signal, _mm512_mul_pd(value, value));
        noise = _mm512_add_pd(noise, _mm512_mul_pd(error, error));
    }
    _mm512_storeu_pd(lanes.signal.data(), signal);
    _mm512_storeu_pd(lanes.noise.data(), noise);
    tail(D).add_noise(words + k * word_bytes(D), upper + k, count - k, shift, lanes);
}

size_t count_non_canonical(const uint8_t* upper, const uint8_t* lower, size_t count) {
    size_t wrong = 0;
    size_t k = 0;
    for (; k + 64 <= count; k += 64) {
        const __m512i upper_bytes = load(upper + k);
        const __m512i lower_bytes = load(lower + k);
        const __m512i again = upper_of({high_of(upper_bytes, lower_bytes), lower_bytes});
        wrong += static_cast<size_t>(_mm_popcnt_u64(_mm512_cmpneq_epi8_mask(again, upper_bytes)));
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

bool is_supported() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           avx2_implementation.is_supported();
}

}  // namespace

const Implementation avx512_implementation{
    "avx512",
    is_supported,
    {kKernels<Dtype::F16>, kKernels<Dtype::BF16>, kKernels<Dtype::F32>},
    count_non_canonical,
    crc32_pclmul};

}  // namespace nestedfp::codec

#endif
