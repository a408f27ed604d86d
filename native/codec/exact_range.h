#pragma once

#include <cstdint>

#include "codec/dtype.h"

namespace nestedfp::codec {

/// The magnitudes from `least` on, `count` of them, that half(w * 2^-s) keeps exactly, whatever the fraction
/// (FORMAT.md §2). Nearly every weight is in it, and two integer operations tell.
struct ExactRange {
    uint16_t least;
    uint16_t count;
};

template <Dtype D>
constexpr ExactRange exact_range(int shift) {
    static_assert(D != Dtype::F32, "a binary32 word has more fraction bits than a half");
    if constexpr (D == Dtype::F16) {  // 2^(s-14), the least that stays normal, up to infinity
        const int least = (shift + 1) << 10;
        return {static_cast<uint16_t>(least), static_cast<uint16_t>(0x7C00 - least)};
    }
    // 2^(s-17), whose last bit is a half's, up to 2^(s+16), which overflows
    return {static_cast<uint16_t>((127 - 17 + shift) << 7), 33 << 7};
}

}  // namespace nestedfp::codec
