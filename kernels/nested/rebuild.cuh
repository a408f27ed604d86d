// Four weights of two planes to four binary16 words.
#pragma once

#include <cstdint>

#include "../ptx/matrix.cuh"

namespace nestedfp::nested {

/// FORMAT.md section 1 on four weights, as device planes hold them (interface/planes.h): `upper` and
/// `residual` hold elements k, k + 1, k + 8, k + 9 of a row. An E4M3 value times 2^-8, subnormals included,
/// is the word whose magnitude is that of `upper` shifted left by 7; what it was rounded off by is then added
/// as an integer. Between multiplications narrow tiles wait for the integer pipe, where shifts and masks
/// would all go; these instructions go to three pipes. (Measured at 128 tokens: a run of a tile took 0.96
/// times as long as with those.)
/// @param low elements k, k + 1 as binary16. @param high elements k + 8, k + 9.
__device__ __forceinline__ void rebuild(uint32_t upper, uint32_t residual, uint32_t& low, uint32_t& high) {
    constexpr uint32_t kTwoToMinus8 = 0x1c001c00u;
    uint32_t rounded_low, rounded_high;
    ptx::widen_e4m3x4(upper, rounded_low, rounded_high);
    // Bytes with their signs extended to 16 bits.
    const uint32_t residual_low = ptx::permute_bytes<0x9180>(residual, 0);
    const uint32_t residual_high = ptx::permute_bytes<0xb3a2>(residual, 0);
    low = ptx::add_int16x2(ptx::multiply_half2(rounded_low, kTwoToMinus8), residual_low);
    high = ptx::add_int16x2(ptx::multiply_half2(rounded_high, kTwoToMinus8), residual_high);
}

}  // namespace nestedfp::nested
