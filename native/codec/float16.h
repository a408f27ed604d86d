#pragma once

#include <bit>
#include <cstdint>

// binary16 and bfloat16 by integer arithmetic: exact for subnormals, whatever FTZ, DAZ or the rounding mode
// say.
namespace nestedfp::codec {

/// 2^n for -126 <= n <= 127.
constexpr float power_of_two(int n) { return std::bit_cast<float>(static_cast<uint32_t>(127 + n) << 23); }

/// x / 2^n rounded to nearest, ties to even; 1 <= n <= 31.
constexpr uint32_t shift_right_rne(uint32_t x, int n) {
    const uint32_t half = 1u << (n - 1);
    const uint32_t rest = x & ((1u << n) - 1);
    const uint32_t quotient = x >> n;
    return quotient + (rest > half || (rest == half && (quotient & 1)));
}

/// binary32 to binary16, round to nearest even; overflow gives infinity.
constexpr uint16_t round_to_half(float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    const uint32_t sign = bits >> 16 & 0x8000;
    const uint32_t magnitude = bits & 0x7FFFFFFF;
    const int exponent = static_cast<int>(magnitude >> 23);
    uint32_t half = 0;
    if (magnitude > 0x7F800000) {
        half = 0x7E00;
    } else if (exponent >= 127 + 16) {
        half = 0x7C00;
    } else if (exponent >= 127 - 14) {  // a normal half: rebias, drop 13 bits; a carry may reach infinity
        half = shift_right_rne(magnitude - ((127u - 15) << 23), 13);
    } else if (exponent >= 127 - 25) {  // a subnormal half counts units of 2^-24
        half = shift_right_rne((magnitude & 0x7FFFFF) | 0x800000, 126 - exponent);
    }
    return static_cast<uint16_t>(sign | half);
}

constexpr float half_to_float(uint16_t half) {
    const uint32_t sign = (half & 0x8000u) << 16;
    const uint32_t exponent = half >> 10 & 0x1F;
    const uint32_t fraction = half & 0x3FF;
    if (exponent == 0) {
        const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
        return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(magnitude));
    }
    const uint32_t biased = exponent == 0x1F ? 0xFF : exponent + (127 - 15);
    return std::bit_cast<float>(sign | biased << 23 | fraction << 13);
}

constexpr float bf16_to_float(uint16_t word) {
    return std::bit_cast<float>(static_cast<uint32_t>(word) << 16);
}

/// binary32 (not a NaN) to bfloat16, round to nearest even.
constexpr uint16_t round_to_bf16(float value) {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

}  // namespace nestedfp::codec
