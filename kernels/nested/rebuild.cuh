// Four weights of two planes to four binary16 words, and of the upper plane alone.
#pragma once

#include <cstdint>

#include "../ptx/matrix.cuh"

namespace nestedfp::nested {

/// FORMAT.md section 1 on four weights: `upper` and `lower` hold elements k, k + 1, k + 8, k + 9 of a row.
/// @param low elements k, k + 1 as binary16. @param high elements k + 8, k + 9.
__device__ __forceinline__ void rebuild(uint32_t upper, uint32_t lower, uint32_t& low, uint32_t& high) {
    // upper was rounded up where lower's top bit is set. Taking that bit off again leaves twice the high
    // byte's magnitude (plus a bit that the shift drops); canonical planes never borrow across a byte.
    const uint32_t truncated = upper - ((lower & 0x80808080u) >> 7);
    const uint32_t high_bytes = ((truncated >> 1) & 0x3f3f3f3fu) | (upper & 0x80808080u);
    low = ptx::permute_bytes<0x5140>(lower, high_bytes);
    high = ptx::permute_bytes<0x7362>(lower, high_bytes);
}

/// The same elements of the upper plane as E4M3 values in binary16; exact.
__device__ __forceinline__ void widen(uint32_t upper, uint32_t& low, uint32_t& high) {
    low = ptx::widen_e4m3x2(static_cast<uint16_t>(upper));
    high = ptx::widen_e4m3x2(static_cast<uint16_t>(upper >> 16));
}

}  // namespace nestedfp::nested
