// How a consumer gives a stage of a ring back to the warps that fill it.
#pragma once

#include "../ptx/mbarrier.cuh"
#include "cluster_rank.cuh"
#include "shared_plan.cuh"

namespace nestedfp::gemm {

/// Tells the blocks that load a stage of this block that this warp has read it.
template <typename Blocks>
__device__ __forceinline__ void release(uint32_t empty, Blocks blocks) {
    const uint32_t lane = threadIdx.x % 32;
    if constexpr (Blocks::kCount > 1) {
        if (lane < Blocks::kCount) ptx::mbarrier_arrive_cluster(empty, blocks.first + lane * Blocks::kStride);
    } else {
        if (lane == 0) ptx::mbarrier_arrive(empty);
    }
}

template <kernels::GemmConfig kConfig>
__device__ __forceinline__ void release_tokens(uint32_t shared, uint32_t stage) {
    release(shared + SharedPlan<kConfig>::tokens_empty(stage), sharers_of_tokens<kConfig>());
}

template <kernels::GemmConfig kConfig>
__device__ __forceinline__ void release_weights(uint32_t shared, uint32_t stage) {
    release(shared + SharedPlan<kConfig>::weights_empty(stage), sharers_of_weights<kConfig>());
}

}  // namespace nestedfp::gemm
