// A load that all blocks share that need what it brings.
#pragma once

#include <cstdint>

#include "../ptx/tma.cuh"
#include "cluster_rank.cuh"

namespace nestedfp::gemm {

/// Of `count` rows of a tile, how many lie in the matrix when `left` rows do from the first on. The others
/// are not loaded, and what stands in their places makes rows of the output that are not stored. (Measured: a
/// row of zeros from beyond the matrix takes the copy engine five cycles; at 200 tokens 64x128 tiles took 1.4
/// times as long as at 256.)
__device__ __forceinline__ int32_t rows_inside(int32_t left, int32_t count) {
    return max(0, min(left, count));
}

/// One load for all blocks that share what it brings.
template <typename Blocks>
__device__ __forceinline__ void load(uint32_t to, const void* map, int32_t column, int32_t row, uint32_t full,
                                     uint64_t policy, Blocks blocks) {
    if constexpr (Blocks::kCount > 1) {
        ptx::tma_load_multicast(to, map, column, row, full, blocks.mask(), policy);
    } else {
        ptx::tma_load(to, map, column, row, full, policy);
    }
}

}  // namespace nestedfp::gemm
