// One persistent GEMM for all configurations: warps that load, warpgroups that multiply and store.
#pragma once

#include <type_traits>

#include "accumulate.cuh"
#include "cluster_rank.cuh"
#include "epilogue.cuh"
#include "partial_sums.cuh"
#include "producer.cuh"

namespace nestedfp::gemm {

template <kernels::GemmConfig kConfig>
__device__ __forceinline__ void consume(const kernels::GemmParams& params, uint32_t shared, TileOrder order,
                                        int warpgroup) {
    using Accumulate =
        std::conditional_t<kConfig.rebuilds(), RegisterWeights<kConfig>, SharedWeights<kConfig>>;
    const int row_group = warpgroup % kConfig.row_groups;
    const int k_group = warpgroup / kConfig.row_groups;
    const int32_t row_rank = static_cast<int32_t>(ClusterRank<kConfig>::rows());
    const int32_t token_rank = static_cast<int32_t>(ClusterRank<kConfig>::tokens());

    Accumulate accumulate(shared, row_group, k_group);
    KGroupSum<kConfig> k_group_sum(shared, row_group, k_group);
    BlockSum<kConfig> block_sum(params, row_group);
    Epilogue<kConfig> epilogue(params, shared, row_group);
    float sums[kConfig.block_tokens / 2];

    ptx::wait_for_previous_grid();
    Segment segment;
    while (order.next(segment)) {
        int32_t row_tile, token_tile;
        order.coordinates(segment.tile, row_tile, token_tile);
        const int32_t row =
            ((row_tile * kConfig.cluster_rows + row_rank) * kConfig.row_groups + row_group) * 64;
        const int32_t token = (token_tile * kConfig.cluster_tokens + token_rank) * kConfig.block_tokens;
        if (k_group == 0) epilogue.prefetch(row, token);
        accumulate.run(sums, segment.k_end - segment.k_begin);
        k_group_sum.add(sums);
        if (k_group > 0) continue;
        if (segment.k_end - segment.k_begin == params.k_tiles) {
            epilogue.store(sums, row, token, [](int) { return true; });
        } else if (params.parts > 0) {
            // All parts end together: each block finishes its share of the chunks.
            constexpr int kChunks = BlockSum<kConfig>::kChunks;
            const int32_t part = segment.slot % params.parts;
            const int32_t finishers = params.parts < kChunks ? params.parts : kChunks;
            const auto is_mine = [=](int chunk) { return chunk * finishers / kChunks == part; };
            block_sum.leave(sums, segment.slot, finishers - (part < finishers), is_mine);
            if (part >= finishers) continue;
            const int32_t first = segment.slot - part;
            for (int32_t other = first; other < first + params.parts; ++other) {
                if (other != segment.slot) block_sum.collect(sums, other, is_mine);
            }
            epilogue.store(sums, row, token, is_mine);
        } else if (segment.k_begin > 0) {
            // The block that has the tile's first part comes to it last, and finishes it.
            block_sum.leave(sums, segment.slot, 1, [](int) { return false; });
        } else {
            const int32_t last = order.last_contributor(segment.tile);
            for (int32_t other = segment.slot + 1; other <= last; ++other) {
                block_sum.collect(sums, other, [](int) { return true; });
            }
            epilogue.store(sums, row, token, [](int) { return true; });
        }
    }
    accumulate.finish();
    if (k_group == 0) epilogue.finish();
}

template <kernels::GemmConfig kConfig>
__device__ __forceinline__ void init_barriers(uint32_t shared) {
    // A stage is free when the consumers of all blocks that a load reaches have read it.
    constexpr int kWarps = 4 * kConfig.warpgroups();
    for (int stage = 0; stage < kConfig.stages; ++stage) {
        ptx::mbarrier_init(shared + SharedPlan<kConfig>::tokens_full(stage), 1);
        ptx::mbarrier_init(shared + SharedPlan<kConfig>::tokens_empty(stage), kWarps * kConfig.cluster_rows);
    }
    for (int stage = 0; stage < kConfig.weight_stages; ++stage) {
        ptx::mbarrier_init(shared + SharedPlan<kConfig>::weights_full(stage), 1);
        ptx::mbarrier_init(shared + SharedPlan<kConfig>::weights_empty(stage),
                           kWarps * kConfig.cluster_tokens);
    }
    ptx::fence_mbarrier_init();
    ptx::fence_proxy_async();
}

/// All but the warp that initialises the barriers start when they are ready, in all blocks that reach them.
template <kernels::GemmConfig kConfig>
__device__ __forceinline__ void wait_for_barriers() {
    if constexpr (kConfig.cluster() > 1) {
        ptx::cluster_arrive();
        ptx::cluster_wait();
    } else {
        ptx::barrier_sync<Barriers<kConfig>::kStartThreads>(Barriers<kConfig>::kStart);
    }
}

template <kernels::GemmConfig kConfig>
__device__ __forceinline__ void gemm(const kernels::GemmParams& params) {
    extern __shared__ unsigned char dynamic_shared[];
    const uint32_t shared = (ptx::shared_address(dynamic_shared) + 1023) & ~1023u;
    // The compiler is told that a role is uniform in its warp.
    const int warp = __shfl_sync(0xffffffff, threadIdx.x / 32, 0);
    constexpr int kLoader = 4 * kConfig.warpgroups();
    const TileOrder order(params, blockIdx.x / kConfig.cluster(), gridDim.x / kConfig.cluster());

    ptx::launch_next_grid();
    if (warp >= kLoader) {
        if constexpr (kConfig.warpgroups() > 1) ptx::give_registers<kConfig.loader_registers()>();
        const bool loads_weights = threadIdx.x == 32 * kLoader;
        const bool loads_tokens = threadIdx.x == 32 * (kLoader + 1);
        if (loads_weights) init_barriers<kConfig>(shared);
        if (loads_tokens) {
            ptx::prefetch_tensor_map(&params.activations);
            ptx::prefetch_tensor_map(&params.out);
        }
        __syncwarp();
        if constexpr (kConfig.cluster() > 1) {
            wait_for_barriers<kConfig>();
        } else if (warp == kLoader) {
            ptx::barrier_arrive<Barriers<kConfig>::kStartThreads>(Barriers<kConfig>::kStart);
        } else if (warp == kLoader + 1) {
            wait_for_barriers<kConfig>();
        }
        if (loads_weights) WeightLoader<kConfig>(params, shared, order).run();
        if (loads_tokens) TokenLoader<kConfig>(params, shared, order).run();
        __syncwarp();
    } else {
        if constexpr (kConfig.warpgroups() > 1) ptx::take_registers<kConfig.consumer_registers()>();
        wait_for_barriers<kConfig>();
        consume<kConfig>(params, shared, order, warp / 4);
    }
}

}  // namespace nestedfp::gemm
