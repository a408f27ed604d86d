// One persistent GEMM for all configurations: warps that load, warpgroups that multiply and store.
#pragma once

#include <type_traits>

#include "block_sum.cuh"
#include "epilogue.cuh"
#include "k_group_sum.cuh"
#include "register_weights.cuh"
#include "shared_weights.cuh"
#include "token_loader.cuh"
#include "weight_loader.cuh"
#include "work.cuh"

namespace nestedfp::gemm {

template <kernels::GemmConfig kConfig>
__device__ __forceinline__ void consume(const kernels::GemmParams& params, uint32_t shared, TileOrder order,
                                        int warpgroup) {
    using Accumulate =
        std::conditional_t<kConfig.rebuilds(), RegisterWeights<kConfig>, SharedWeights<kConfig>>;
    const int row_group = warpgroup % kConfig.row_groups;
    const int k_group = warpgroup / kConfig.row_groups;

    Accumulate accumulate(shared, row_group, k_group);
    KGroupSum<kConfig> k_group_sum(shared, row_group, k_group);
    const BlockSum<kConfig> block_sum(params, shared, row_group);
    Epilogue<kConfig> epilogue(params, shared, row_group);
    float sums[kConfig.block_tokens / 2];

    // Four warpgroups have no registers to spare, and little more than one segment each.
    constexpr bool kAhead = kConfig.warpgroups() < 4;
    Work<kConfig> work;
    bool has_work = work.next(order);
    bool has_stored = false;
    ptx::wait_for_previous_grid();
    if (k_group == 0) block_sum.begin();
    while (has_work) {
        Work<kConfig> next;
        bool has_next = false;
        Exchange<kConfig> exchange;
        accumulate.run(sums, work.segment.k_end - work.segment.k_begin, [&] {
            if (kConfig.stores_in_weights() && has_stored) {
                epilogue.wait_until_read();
                accumulate.give_back();
            }
            if (k_group == 0) epilogue.prefetch(work.row(row_group), work.token());
            if constexpr (kAhead) {
                exchange = Exchange<kConfig>(params, order, work.segment);
                has_next = next.next(order);
            }
        });
        if constexpr (!kAhead) exchange = Exchange<kConfig>(params, order, work.segment);
        k_group_sum.add(sums);
        if (k_group == 0) {
            if (exchange.leaves) block_sum.leave(sums, exchange);
            block_sum.collect(sums, exchange);
        }
        has_stored = k_group == 0 && exchange.has_mine();
        if (has_stored) {
            epilogue.store(sums, work.row(row_group), work.token(), exchange, accumulate.held_stage());
        } else {
            accumulate.give_back();
        }
        if constexpr (kAhead) work = next;
        has_work = kAhead ? has_next : work.next(order);
    }
    if (k_group == 0) {
        epilogue.finish();
        block_sum.finish();
    }
    // No barrier between: nothing is loaded any more, and the thread that waited keeps the block alive.
    if (kConfig.stores_in_weights() && has_stored) accumulate.give_back();
    accumulate.finish();
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

/// Consumers start when the barriers in shared memory are ready, in all blocks that reach them.
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
            ptx::prefetch_tensor_map(&params.last_activations);
            ptx::prefetch_tensor_map(&params.out);
        }
        __syncwarp();
        if constexpr (kConfig.cluster() > 1) {
            wait_for_barriers<kConfig>();
        } else if (warp == kLoader) {
            ptx::barrier_arrive<64>(Barriers<kConfig>::kTokensStart);
            ptx::barrier_arrive<Barriers<kConfig>::kStartThreads>(Barriers<kConfig>::kStart);
        } else if (warp == kLoader + 1) {
            ptx::barrier_sync<64>(Barriers<kConfig>::kTokensStart);
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
