// A load that all blocks share that need what it brings.
#pragma once

#include "../ptx/tma.cuh"
#include "cluster_rank.cuh"

namespace nestedfp::gemm {

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
