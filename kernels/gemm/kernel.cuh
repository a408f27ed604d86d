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
__device__ __forceinline__ TileOrder order_of_block(const kernels::GemmParams& params) {
    return TileOrder(params, blockIdx.x / kConfig.cluster(), gridDim.x / kConfig.cluster());
}

template <kernels::GemmConfig kConfig>
__device__ __forceinline__ void consume(const kernels::GemmParams& params, uint32_t shared, int warpgroup) {
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
    TileOrder order = order_of_block<kConfig>(params);
    Work<kConfig> work;
    bool has_work = work.next(order);
    bool has_stored = false;
    wait_for_barriers<kConfig>();
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

/// Of a ring: a stage is full when what its loader expects has come, and free when the consumers of all
/// blocks that a load reaches have read it. By one thread: the lanes of a warp, a barrier each, took five
/// times as long.
template <int kStages>
__device__ __forceinline__ void init_barriers(uint32_t full, uint32_t empty, int readers) {
    for (int stage = 0; stage < kStages; ++stage) {
        ptx::mbarrier_init(full + 8 * stage, 1);
        ptx::mbarrier_init(empty + 8 * stage, readers);
    }
    ptx::fence_mbarrier_init();
    ptx::fence_proxy_async();
}

/// The warpgroup that loads. Two of its warps initialise the barriers while the two others find out what
/// comes first: each takes hundreds of cycles.
template <kernels::GemmConfig kConfig>
__device__ __forceinline__ void load_operands(const kernels::GemmParams& params, uint32_t shared, int warp) {
    using Plan = SharedPlan<kConfig>;
    constexpr int kWarps = 4 * kConfig.warpgroups();
    const bool is_first = threadIdx.x % 32 == 0;
    TileOrder order = order_of_block<kConfig>(params);
    Work<kConfig> first;
    bool has_work = false;
    if (warp < 2) {
        has_work = first.next(order);
    } else if (warp == 2 && is_first) {
        init_barriers<kConfig.weight_stages>(shared + Plan::weights_full(0), shared + Plan::weights_empty(0),
                                             kWarps * kConfig.cluster_tokens);
    } else if (warp == 3 && is_first) {
        init_barriers<kConfig.stages>(shared + Plan::tokens_full(0), shared + Plan::tokens_empty(0),
                                      kWarps * kConfig.cluster_rows);
    }
    __syncwarp();
    if constexpr (kConfig.cluster() > 1) {
        wait_for_barriers<kConfig>();
    } else if (warp < 2) {
        ptx::barrier_sync<128>(Barriers<kConfig>::kLoadersStart);
    } else {
        ptx::barrier_arrive<128>(Barriers<kConfig>::kLoadersStart);
        ptx::barrier_arrive<Barriers<kConfig>::kStartThreads>(Barriers<kConfig>::kStart);
    }
    if (!is_first || !has_work) return;
    if (warp == 0) WeightLoader<kConfig>(params, shared).run(order, first);
    if (warp == 1) TokenLoader<kConfig>(params, shared).run(order, first);
}

template <kernels::GemmConfig kConfig>
__device__ __forceinline__ void gemm(const kernels::GemmParams& params) {
    extern __shared__ unsigned char dynamic_shared[];
    const uint32_t shared = (ptx::shared_address(dynamic_shared) + 1023) & ~1023u;
    // The compiler is told that a role is uniform in its warp.
    const int warp = __shfl_sync(0xffffffff, threadIdx.x / 32, 0);
    constexpr int kLoader = 4 * kConfig.warpgroups();
    ptx::launch_next_grid();
    if (warp >= kLoader) {
        if constexpr (kConfig.warpgroups() > 1) ptx::give_registers<kConfig.loader_registers()>();
        load_operands<kConfig>(params, shared, warp - kLoader);
        __syncwarp();
    } else {
        if constexpr (kConfig.warpgroups() > 1) ptx::take_registers<kConfig.consumer_registers()>();
        consume<kConfig>(params, shared, warp / 4);
    }
}

}  // namespace nestedfp::gemm
