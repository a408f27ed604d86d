#pragma once

#include <cstdint>

namespace nestedfp::cpu {

constexpr float kE4m3Max = 448;

/// An E4M3 byte read as binary16 is its value times 2^-8.
constexpr float kE4m3OfHalf = 256;

/// The E4M3 byte of a binary16 word whose value is an E4M3 value times 2^-8.
constexpr uint8_t e4m3_of_half(uint16_t word) {
    return static_cast<uint8_t>((word >> 8 & 0x80) | (word >> 7 & 0x7F));
}

}  // namespace nestedfp::cpu
