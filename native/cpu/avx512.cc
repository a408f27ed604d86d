#if defined(__x86_64__)

#include <immintrin.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "codec/float16.h"
#include "codec/target_region.h"
#include "cpu/e4m3.h"
#include "cpu/exp.h"
#include "cpu/implementation.h"

// GCC 11 and 12 warn of their own headers' deliberately undefined operands (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

NESTEDFP_TARGET_BEGIN("avx512f,avx512bw,avx512vl,avx512dq,fma,f16c,bmi2")

namespace nestedfp::cpu {
namespace {

using Vec = __m512;

struct Pair {
    Vec low;
    Vec high;
};

__mmask16 mask_of(size_t count) {
    return static_cast<__mmask16>(_bzhi_u32(0xFFFF, static_cast<unsigned>(count)));
}

Vec zero() { return _mm512_setzero_ps(); }
Vec set1(float x) { return _mm512_set1_ps(x); }
Vec load(const float* x) { return _mm512_loadu_ps(x); }
void store(float* x, Vec v) { _mm512_storeu_ps(x, v); }
/// The first `count` (at most 16) values, then zeros.
Vec load_part(const float* x, size_t count) { return _mm512_maskz_loadu_ps(mask_of(count), x); }
void store_part(float* x, Vec v, size_t count) { _mm512_mask_storeu_ps(x, mask_of(count), v); }
Vec first_lanes(Vec v, size_t count) { return _mm512_maskz_mov_ps(mask_of(count), v); }

Vec multiply_add(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
Vec add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
Vec subtract(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
Vec multiply(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
Vec divide(Vec a, Vec b) { return _mm512_div_ps(a, b); }
/// a > b ? a : b and a < b ? a : b: a NaN in b stays.
Vec larger(Vec a, Vec b) { return _mm512_max_ps(a, b); }
Vec smaller(Vec a, Vec b) { return _mm512_min_ps(a, b); }
Vec where_less(Vec a, Vec b, Vec yes, Vec no) {
    return _mm512_mask_mov_ps(no, _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ), yes);
}

Vec magnitude(Vec v) { return _mm512_and_ps(v, _mm512_castsi512_ps(_mm512_set1_epi32(0x7FFFFFFF))); }
Vec negate(Vec v) { return _mm512_xor_ps(v, set1(-0.0F)); }
Vec exponent_part(Vec v) { return _mm512_and_ps(v, _mm512_castsi512_ps(_mm512_set1_epi32(0x7F800000))); }
Vec with_sign_of(Vec magnitude, Vec sign) {
    return _mm512_or_ps(magnitude, _mm512_and_ps(sign, set1(-0.0F)));
}
Vec larger_bits(Vec a, Vec b) {
    return _mm512_castsi512_ps(_mm512_max_epi32(_mm512_castps_si512(a), _mm512_castps_si512(b)));
}
/// 2^n for n + 1.5 * 2^23, see exp.h.
Vec power_of_two(Vec shifted) {
    const __m512i exponent = _mm512_slli_epi32(_mm512_castps_si512(shifted), 23);
    return _mm512_castsi512_ps(_mm512_add_epi32(exponent, _mm512_set1_epi32(127 << 23)));
}

/// Lane n with lane n + 8, then 4, 2, 1.
float sum_of_lanes(Vec v) {
    const __m256 eight = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

struct Doubles {
    __m512d low;
    __m512d high;
};

Doubles widened(Vec v) {
    return {_mm512_cvtps_pd(_mm512_castps512_ps256(v)), _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1))};
}
Doubles add(Doubles a, Doubles b) { return {_mm512_add_pd(a.low, b.low), _mm512_add_pd(a.high, b.high)}; }
Doubles subtract(Doubles a, Doubles b) {
    return {_mm512_sub_pd(a.low, b.low), _mm512_sub_pd(a.high, b.high)};
}
Doubles multiply(Doubles a, Doubles b) {
    return {_mm512_mul_pd(a.low, b.low), _mm512_mul_pd(a.high, b.high)};
}
double sum_of_lanes(Doubles v) {
    const __m512d eight = _mm512_add_pd(v.low, v.high);
    const __m256d four = _mm256_add_pd(_mm512_castpd512_pd256(eight), _mm512_extractf64x4_pd(eight, 1));
    const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

void store_halves(uint16_t* words, Vec v) {
    const __m256i halves = _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(words), halves);
}

/// Pairs, then quads of 32-bit lanes within each 128 bits, then the 128-bit quarters.
void transpose(Vec (&rows)[kLanes]) {
    __m512 pairs[kLanes];
    for (int n = 0; n < 16; n += 2) {
        pairs[n] = _mm512_unpacklo_ps(rows[n], rows[n + 1]);
        pairs[n + 1] = _mm512_unpackhi_ps(rows[n], rows[n + 1]);
    }
    // quads[4 * g + c]: column c of each quarter, from rows 4 * g to 4 * g + 3
    __m512 quads[kLanes];
    for (int n = 0; n < 16; n += 4) {
        quads[n] = _mm512_shuffle_ps(pairs[n], pairs[n + 2], 0x44);
        quads[n + 1] = _mm512_shuffle_ps(pairs[n], pairs[n + 2], 0xEE);
        quads[n + 2] = _mm512_shuffle_ps(pairs[n + 1], pairs[n + 3], 0x44);
        quads[n + 3] = _mm512_shuffle_ps(pairs[n + 1], pairs[n + 3], 0xEE);
    }
    for (int c = 0; c < 4; ++c) {
        const __m512 low_even = _mm512_shuffle_f32x4(quads[c], quads[c + 4], 0x88);
        const __m512 low_odd = _mm512_shuffle_f32x4(quads[c], quads[c + 4], 0xDD);
        const __m512 high_even = _mm512_shuffle_f32x4(quads[c + 8], quads[c + 12], 0x88);
        const __m512 high_odd = _mm512_shuffle_f32x4(quads[c + 8], quads[c + 12], 0xDD);
        rows[c] = _mm512_shuffle_f32x4(low_even, high_even, 0x88);
        rows[c + 4] = _mm512_shuffle_f32x4(low_odd, high_odd, 0x88);
        rows[c + 8] = _mm512_shuffle_f32x4(low_even, high_even, 0xDD);
        rows[c + 12] = _mm512_shuffle_f32x4(low_odd, high_odd, 0xDD);
    }
}

void prefetch_line(const uint8_t* address) { _mm_prefetch(address, _MM_HINT_T0); }

/// 32 binary16 words.
using Words = __m512i;

Pair floats_of(Words words) {
    return {_mm512_cvtph_ps(_mm512_castsi512_si256(words)),
            _mm512_cvtph_ps(_mm512_extracti64x4_epi64(words, 1))};
}

Pair floats_of_once(Words words) { return floats_of(words); }

/// 32 bytes as signed 16-bit numbers.
__m512i widened_bytes(const uint8_t* bytes) {
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes)));
}

Words words_of_halves(const uint8_t* words) { return _mm512_loadu_si512(words); }

/// Seven bits up, a widened byte is the binary16 word of E4M3 * 2^-8, but for a copy of the sign in bit 14.
__m512i words_of_widened(__m512i upper) {
    return _mm512_and_si512(_mm512_slli_epi16(upper, 7), _mm512_set1_epi16(static_cast<short>(0xBFFF)));
}

Words words_of_upper(const uint8_t* upper) { return words_of_widened(widened_bytes(upper)); }

/// The word differs from its rounded upper byte by a signed byte, which is the lower byte minus the low byte
/// of the rounded word: that is 128 for an odd upper byte, else 0. Minus 128 flips the top bit, and all its
/// copies.
Words words_of_planes(const uint8_t* upper, const uint8_t* lower) {
    const __m512i wide = widened_bytes(upper);
    const __m512i odd = _mm512_srai_epi16(_mm512_slli_epi16(wide, 15), 8);
    const __m512i difference = _mm512_xor_si512(widened_bytes(lower), odd);
    return _mm512_add_epi16(words_of_widened(wide), difference);
}

constexpr int kDotTokens = 8;
constexpr int dot_rows(int tokens) { return tokens <= 4 ? 4 : 2; }
constexpr int kTileRows = 12;
constexpr int kTileVecs = 2;

// Each needs the one before it.
#include "cpu/vector/rows-inl.h"
//
#include "cpu/vector/dot-inl.h"
#include "cpu/vector/row_operations-inl.h"
#include "cpu/vector/tile-inl.h"

}  // namespace
}  // namespace nestedfp::cpu

NESTEDFP_TARGET_END

namespace nestedfp::cpu {
namespace {

bool is_supported() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           avx2_implementation.is_supported();
}

}  // namespace

const Implementation avx512_implementation{
    .name = "avx512",
    .is_supported = is_supported,
    .dot = {dot<HalfRow>, dot_nested<PlaneRow>, dot_nested<Fp8Row>, dot<Fp8Row>},
    .decode = {decode<HalfRow>, decode_nested<PlaneRow>, decode_nested<Fp8Row>, decode<Fp8Row>},
    .tile_rows = kTileRows,
    .tile_tokens = kTileVecs * kLanes,
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

#endif
