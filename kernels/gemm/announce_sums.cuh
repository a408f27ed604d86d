// The warp that tells other blocks what this one has left for them.
#pragma once

#include "../ptx/grid.cuh"
#include "barriers.cuh"
#include "exchange.cuh"

namespace nestedfp::gemm {

/// The warp that tells the readers of a slot when all row groups have left their sums there.
template <kernels::GemmConfig kConfig>
__device__ __forceinline__ void announce_sums(const kernels::GemmParams& params, TileOrder order) {
    Segment segment;
    while (order.next(segment)) {
        const Exchange<kConfig> exchange(params, order, segment);
        if (exchange.readers == 0) continue;
#pragma unroll
        for (int row_group = 0; row_group < kConfig.row_groups; ++row_group) {
            ptx::barrier_arrive<Barriers<kConfig>::kLeftThreads>(Barriers<kConfig>::hears(row_group));
        }
#pragma unroll
        for (int row_group = 0; row_group < kConfig.row_groups; ++row_group) {
            ptx::barrier_sync<Barriers<kConfig>::kLeftThreads>(Barriers<kConfig>::left(row_group));
        }
        if (threadIdx.x % 32 == 0) {
            ptx::store_release(Slot<kConfig>(exchange.own).ready(params), exchange.readers);
        }
        __syncwarp();
    }
}

}  // namespace nestedfp::gemm
