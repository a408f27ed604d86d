#pragma once

#include <algorithm>
#include <cstdint>

// FORMAT.md §1: one binary16 word as an E4M3 byte (upper) and the low byte of the word (lower).
namespace nestedfp::codec {

struct Pair {
    uint8_t upper;
    uint8_t lower;
};

/// |value| < 1.875 and finite.
constexpr bool is_eligible(uint16_t word) { return (word & 0x7FFF) < 0x3F80; }

/// upper = E4M3(256 * value), round to nearest even, saturating at 448; lower = the low byte.
constexpr Pair decompose(uint16_t word) {
    const unsigned magnitude = word & 0x7FFF;
    const unsigned sign = word >> 8 & 0x80;
    const unsigned rounded = std::min((magnitude + 63 + (magnitude >> 7 & 1)) >> 7, 0x7Eu);
    return {static_cast<uint8_t>(sign | rounded), static_cast<uint8_t>(word)};
}

/// The inverse: the top bit of `lower` is the last bit of the magnitude before rounding, so it tells whether
/// the upper byte was rounded up.
constexpr uint16_t reconstruct(Pair pair) {
    const unsigned rounded_up = (pair.upper & 1u) ^ (pair.lower >> 7);
    const unsigned high = (pair.upper & 0x80u) | ((pair.upper - rounded_up) >> 1 & 0x3F);
    return static_cast<uint16_t>(high << 8 | pair.lower);
}

/// E4M3(upper) * 2^-8 as binary16, exact, subnormals included (upper is not a NaN).
constexpr uint16_t upper_as_half(uint8_t upper) {
    return static_cast<uint16_t>((upper & 0x80) << 8 | (upper & 0x7F) << 7);
}

/// Whether some eligible word has this pair; no other check of eligibility is needed, because a reconstructed
/// word of 1.875 and above has upper 0x7F, which decompose never gives.
constexpr bool is_canonical(Pair pair) { return decompose(reconstruct(pair)).upper == pair.upper; }

}  // namespace nestedfp::codec
