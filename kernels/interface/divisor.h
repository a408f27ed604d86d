// Division by what a launch knows beforehand, without a division.
#pragma once

#include <cstdint>

namespace nestedfp::kernels {

/// A number from 1 to 2^31 - 1 with its rounded inverse. (Divisions of integers are routines of tens of
/// instructions, which every block would run before its first load.)
struct Divisor {
    uint32_t value;
    /// Of 2^32 - 1.
    uint32_t inverse;
};

constexpr Divisor divisor_of(int32_t value) {
    return {static_cast<uint32_t>(value), 0xffffffffu / static_cast<uint32_t>(value)};
}

struct Division {
    int32_t quotient;
    int32_t rest;
};

/// @param dividend not negative.
constexpr Division divide(int32_t dividend, const Divisor& by) {
    // The inverse is less than 1 / value by value / 2^32 of it at most, so this quotient is right or one
    // less.
    const uint32_t low =
        static_cast<uint32_t>(static_cast<uint64_t>(static_cast<uint32_t>(dividend)) * by.inverse >> 32);
    const uint32_t rest = static_cast<uint32_t>(dividend) - low * by.value;
    const bool is_less = rest >= by.value;
    return {static_cast<int32_t>(low + is_less), static_cast<int32_t>(is_less ? rest - by.value : rest)};
}

}  // namespace nestedfp::kernels
