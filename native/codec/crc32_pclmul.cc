#if defined(__x86_64__)

#include <immintrin.h>

#include "codec/crc32.h"
#include "codec/target_region.h"

NESTEDFP_TARGET_BEGIN("pclmul,sse4.1")

// Gopal et al., "Fast CRC Computation for Generic Polynomials Using PCLMULQDQ Instruction" (Intel, 2009).
namespace nestedfp::codec {
namespace {

__m128i load(const uint8_t* bytes) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes)); }

/// Moves the remainder `folded` on by the distance of `constants` and adds the bytes found there.
__m128i fold(__m128i folded, __m128i constants, __m128i next) {
    const __m128i low = _mm_clmulepi64_si128(folded, constants, 0x00);
    const __m128i high = _mm_clmulepi64_si128(folded, constants, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

}  // namespace

uint32_t crc32_pclmul(uint32_t crc, const uint8_t* bytes, size_t count) {
    if (count < 64) return crc32_slicing(crc, bytes, count);

    // x^(4*128+32), x^(4*128-32) and x^(128+32), x^(128-32) mod P, reflected: folds by 64 and by 16 bytes.
    const __m128i by_64 = _mm_set_epi64x(0x01C6E41596, 0x0154442BD4);
    const __m128i by_16 = _mm_set_epi64x(0x00CCAA009E, 0x01751997D0);

    // Four chains hide the latency of the multiplication.
    __m128i x0 = _mm_xor_si128(load(bytes), _mm_cvtsi32_si128(static_cast<int>(~crc)));
    __m128i x1 = load(bytes + 16);
    __m128i x2 = load(bytes + 32);
    __m128i x3 = load(bytes + 48);
    for (bytes += 64, count -= 64; count >= 64; bytes += 64, count -= 64) {
        x0 = fold(x0, by_64, load(bytes));
        x1 = fold(x1, by_64, load(bytes + 16));
        x2 = fold(x2, by_64, load(bytes + 32));
        x3 = fold(x3, by_64, load(bytes + 48));
    }
    __m128i folded = fold(fold(fold(x0, by_16, x1), by_16, x2), by_16, x3);
    for (; count >= 16; bytes += 16, count -= 16) folded = fold(folded, by_16, load(bytes));

    // 16 bytes with the same remainder as all before: the tables finish them, from an empty register.
    uint8_t remainder[16];
    _mm_storeu_si128(reinterpret_cast<__m128i*>(remainder), folded);
    return crc32_slicing(crc32_slicing(0xFFFFFFFF, remainder, 16), bytes, count);
}

}  // namespace nestedfp::codec

NESTEDFP_TARGET_END

#endif
