#if defined(__x86_64__)

#include <cpuid.h>
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

NESTEDFP_TARGET_BEGIN("avx2,fma,f16c,bmi2")

namespace nestedfp::cpu {
namespace {

/// 16 lanes in two registers; the operations are those of avx512.cc.
struct Vec {
    __m256 low;
    __m256 high;
};

struct Pair {
    Vec low;
    Vec high;
};

/// All ones in the first `count` (at most 8) lanes.
__m256i mask_of(size_t count) {
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), lanes);
}

size_t in_high(size_t count) { return count > 8 ? count - 8 : 0; }

Vec zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
Vec set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
Vec load(const float* x) { return {_mm256_loadu_ps(x), _mm256_loadu_ps(x + 8)}; }
void store(float* x, Vec v) {
    _mm256_storeu_ps(x, v.low);
    _mm256_storeu_ps(x + 8, v.high);
}
Vec load_part(const float* x, size_t count) {
    return {_mm256_maskload_ps(x, mask_of(count)), _mm256_maskload_ps(x + 8, mask_of(in_high(count)))};
}
void store_part(float* x, Vec v, size_t count) {
    _mm256_maskstore_ps(x, mask_of(count), v.low);
    _mm256_maskstore_ps(x + 8, mask_of(in_high(count)), v.high);
}
Vec first_lanes(Vec v, size_t count) {
    return {_mm256_and_ps(v.low, _mm256_castsi256_ps(mask_of(count))),
            _mm256_and_ps(v.high, _mm256_castsi256_ps(mask_of(in_high(count))))};
}

Vec multiply_add(Vec a, Vec b, Vec c) {
    return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
Vec add(Vec a, Vec b) { return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
Vec subtract(Vec a, Vec b) { return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)}; }
Vec multiply(Vec a, Vec b) { return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)}; }
Vec divide(Vec a, Vec b) { return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)}; }
Vec larger(Vec a, Vec b) { return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)}; }
Vec smaller(Vec a, Vec b) { return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)}; }
Vec where_less(Vec a, Vec b, Vec yes, Vec no) {
    return {_mm256_blendv_ps(no.low, yes.low, _mm256_cmp_ps(a.low, b.low, _CMP_LT_OQ)),
            _mm256_blendv_ps(no.high, yes.high, _mm256_cmp_ps(a.high, b.high, _CMP_LT_OQ))};
}

Vec bits_and(Vec v, int mask) {
    const __m256 bits = _mm256_castsi256_ps(_mm256_set1_epi32(mask));
    return {_mm256_and_ps(v.low, bits), _mm256_and_ps(v.high, bits)};
}
Vec magnitude(Vec v) { return bits_and(v, 0x7FFFFFFF); }
Vec exponent_part(Vec v) { return bits_and(v, 0x7F800000); }
Vec negate(Vec v) {
    const __m256 sign = _mm256_set1_ps(-0.0F);
    return {_mm256_xor_ps(v.low, sign), _mm256_xor_ps(v.high, sign)};
}
Vec with_sign_of(Vec magnitude, Vec sign) {
    const Vec bit = bits_and(sign, std::numeric_limits<int>::min());
    return {_mm256_or_ps(magnitude.low, bit.low), _mm256_or_ps(magnitude.high, bit.high)};
}
__m256 larger_bits(__m256 a, __m256 b) {
    return _mm256_castsi256_ps(_mm256_max_epi32(_mm256_castps_si256(a), _mm256_castps_si256(b)));
}
Vec larger_bits(Vec a, Vec b) { return {larger_bits(a.low, b.low), larger_bits(a.high, b.high)}; }
__m256 power_of_two(__m256 shifted) {
    const __m256i exponent = _mm256_slli_epi32(_mm256_castps_si256(shifted), 23);
    return _mm256_castsi256_ps(_mm256_add_epi32(exponent, _mm256_set1_epi32(127 << 23)));
}
Vec power_of_two(Vec shifted) { return {power_of_two(shifted.low), power_of_two(shifted.high)}; }

float sum_of_lanes(Vec v) {
    const __m256 eight = _mm256_add_ps(v.low, v.high);
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}

struct Doubles {
    __m256d quarters[4];
};

Doubles widened(Vec v) {
    return {{_mm256_cvtps_pd(_mm256_castps256_ps128(v.low)), _mm256_cvtps_pd(_mm256_extractf128_ps(v.low, 1)),
             _mm256_cvtps_pd(_mm256_castps256_ps128(v.high)),
             _mm256_cvtps_pd(_mm256_extractf128_ps(v.high, 1))}};
}
Doubles add(Doubles a, Doubles b) {
    for (int n = 0; n < 4; ++n) a.quarters[n] = _mm256_add_pd(a.quarters[n], b.quarters[n]);
    return a;
}
Doubles subtract(Doubles a, Doubles b) {
    for (int n = 0; n < 4; ++n) a.quarters[n] = _mm256_sub_pd(a.quarters[n], b.quarters[n]);
    return a;
}
Doubles multiply(Doubles a, Doubles b) {
    for (int n = 0; n < 4; ++n) a.quarters[n] = _mm256_mul_pd(a.quarters[n], b.quarters[n]);
    return a;
}
double sum_of_lanes(Doubles v) {
    const __m256d four = _mm256_add_pd(_mm256_add_pd(v.quarters[0], v.quarters[2]),
                                       _mm256_add_pd(v.quarters[1], v.quarters[3]));
    const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
    return _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)));
}

void store_halves(uint16_t* words, Vec v) {
    auto* to = reinterpret_cast<__m128i*>(words);
    _mm_storeu_si128(to, _mm256_cvtps_ph(v.low, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128(to + 1, _mm256_cvtps_ph(v.high, _MM_FROUND_TO_NEAREST_INT));
}

void transpose_eight(__m256 (&rows)[8]) {
    __m256 quads[8];  // quads[4 * g + c]: columns c and c + 4, from rows 4 * g to 4 * g + 3
    for (int n = 0; n < 8; n += 4) {
        const __m256 low01 = _mm256_unpacklo_ps(rows[n], rows[n + 1]);
        const __m256 high01 = _mm256_unpackhi_ps(rows[n], rows[n + 1]);
        const __m256 low23 = _mm256_unpacklo_ps(rows[n + 2], rows[n + 3]);
        const __m256 high23 = _mm256_unpackhi_ps(rows[n + 2], rows[n + 3]);
        quads[n] = _mm256_shuffle_ps(low01, low23, 0x44);
        quads[n + 1] = _mm256_shuffle_ps(low01, low23, 0xEE);
        quads[n + 2] = _mm256_shuffle_ps(high01, high23, 0x44);
        quads[n + 3] = _mm256_shuffle_ps(high01, high23, 0xEE);
    }
    for (int c = 0; c < 4; ++c) {
        rows[c] = _mm256_permute2f128_ps(quads[c], quads[c + 4], 0x20);
        rows[c + 4] = _mm256_permute2f128_ps(quads[c], quads[c + 4], 0x31);
    }
}

/// By quarters of 8 x 8, of which the two off the diagonal change places.
void transpose(Vec (&rows)[kLanes]) {
    __m256 top_left[8], top_right[8], bottom_left[8], bottom_right[8];
    for (int n = 0; n < 8; ++n) {
        top_left[n] = rows[n].low;
        top_right[n] = rows[n].high;
        bottom_left[n] = rows[n + 8].low;
        bottom_right[n] = rows[n + 8].high;
    }
    transpose_eight(top_left);
    transpose_eight(top_right);
    transpose_eight(bottom_left);
    transpose_eight(bottom_right);
    for (int n = 0; n < 8; ++n) {
        rows[n] = {top_left[n], bottom_left[n]};
        rows[n + 8] = {top_right[n], bottom_right[n]};
    }
}

void prefetch_line(const uint8_t* address) { _mm_prefetch(address, _MM_HINT_T0); }

/// 32 binary16 words.
struct Words {
    __m256i low;
    __m256i high;
};

Vec floats_of(__m256i words) {
    return {_mm256_cvtph_ps(_mm256_castsi256_si128(words)),
            _mm256_cvtph_ps(_mm256_extracti128_si256(words, 1))};
}

Pair floats_of(Words words) { return {floats_of(words.low), floats_of(words.high)}; }

/// The same by way of memory. On Intel's processors one port alone takes bytes apart, moves the upper half of
/// a register down and converts the words of a register; words in memory are converted without it. That pays
/// where the values are used once; with more tokens the loads of x are what takes the time.
Pair floats_of_once(Words words) {
    __m128i quarters[4];
    auto* to = reinterpret_cast<__m256i*>(quarters);
    _mm256_storeu_si256(to, words.low);
    _mm256_storeu_si256(to + 1, words.high);
    asm("" : "+m"(quarters));  // or the compiler keeps them in registers
    return {{_mm256_cvtph_ps(quarters[0]), _mm256_cvtph_ps(quarters[1])},
            {_mm256_cvtph_ps(quarters[2]), _mm256_cvtph_ps(quarters[3])}};
}

__m256i widened_bytes(const uint8_t* bytes) {
    return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)));
}

Words words_of_halves(const uint8_t* words) {
    const auto* from = reinterpret_cast<const __m256i*>(words);
    return {_mm256_loadu_si256(from), _mm256_loadu_si256(from + 1)};
}

__m256i words_of_widened(__m256i upper) {
    return _mm256_and_si256(_mm256_slli_epi16(upper, 7), _mm256_set1_epi16(static_cast<short>(0xBFFF)));
}

Words words_of_upper(const uint8_t* upper) {
    return {words_of_widened(widened_bytes(upper)), words_of_widened(widened_bytes(upper + 16))};
}

__m256i sixteen_words_of_planes(const uint8_t* upper, const uint8_t* lower) {
    const __m256i wide = widened_bytes(upper);
    const __m256i odd = _mm256_srai_epi16(_mm256_slli_epi16(wide, 15), 8);
    const __m256i difference = _mm256_xor_si256(widened_bytes(lower), odd);
    return _mm256_add_epi16(words_of_widened(wide), difference);
}

Words words_of_planes(const uint8_t* upper, const uint8_t* lower) {
    return {sixteen_words_of_planes(upper, lower), sixteen_words_of_planes(upper + 16, lower + 16)};
}

constexpr int kDotTokens = 4;
constexpr int dot_rows(int tokens) { return tokens <= 2 ? 2 : 1; }
constexpr int kTileRows = 6;
constexpr int kTileVecs = 1;

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

/// F16C has no name in __builtin_cpu_supports of every compiler; its state is AVX's, which "avx2" has
/// checked.
bool has_f16c() {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}

bool is_supported() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("bmi2") && has_f16c();
}

}  // namespace

const Implementation avx2_implementation{
    .name = "avx2",
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
