#pragma once

#include <cstddef>
#include <cstdint>

namespace nestedfp::codec {

/// Source words: IEEE binary16, bfloat16, IEEE binary32, little-endian.
enum class Dtype { F16, BF16, F32 };

inline constexpr int kDtypes = 3;

constexpr size_t word_bytes(Dtype dtype) { return dtype == Dtype::F32 ? 4 : 2; }

/// The integer |w| of an infinity; a larger one is a NaN, so integer maxima order finite < Inf < NaN.
constexpr uint32_t infinity_magnitude(Dtype dtype) {
    switch (dtype) {
        case Dtype::F16:
            return 0x7C00;
        case Dtype::BF16:
            return 0x7F80;
        case Dtype::F32:
            return 0x7F800000;
    }
    return 0;
}

}  // namespace nestedfp::codec
