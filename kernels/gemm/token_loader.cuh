// The warp that loads tokens; it and the warp that loads weights do not wait for each other.
#pragma once

#include "../ptx/grid.cuh"
#include "../ptx/mbarrier.cuh"
#include "cluster_load.cuh"
#include "ring.cuh"
#include "shared_plan.cuh"
#include "tile_order.cuh"

namespace nestedfp::gemm {

/// As WeightLoader, the ring of tokens, with the chunks of all K groups in a stage. Tokens are what the
/// kernel before this one may have written.
template <kernels::GemmConfig kConfig>
class TokenLoader {
    using Plan = SharedPlan<kConfig>;

   public:
    __device__ __forceinline__ TokenLoader(const kernels::GemmParams& params, uint32_t shared,
                                           const TileOrder& order)
        : params_(params),
          shared_(shared),
          policy_(params.weights_stream ? ptx::kEvictLast : ptx::kEvictNormal),
          order_(order) {}

    __device__ __forceinline__ void run() {
        // What can be found out beforehand is: the first access to the parameters takes hundreds of cycles.
        bool has_segment = next_segment();
        ptx::wait_for_previous_grid();
        for (; has_segment; has_segment = next_segment()) {
            const int32_t end = segment_.k_end * kConfig.token_stages_per_step();
            for (int32_t i = segment_.k_begin * kConfig.token_stages_per_step(); i < end; ++i) fill_stage(i);
        }
        if constexpr (kConfig.cluster_rows > 1) {
            for (int i = 0; i < kConfig.stages; ++i, ring_.advance()) wait_until_empty();
        }
    }

   private:
    __device__ __forceinline__ bool next_segment() {
        if (!order_.next(segment_)) return false;
        int32_t row_tile, token_tile;
        order_.coordinates(segment_.tile, row_tile, token_tile);
        token_ =
            (token_tile * kConfig.cluster_tokens + static_cast<int32_t>(ClusterRank<kConfig>::tokens())) *
            kConfig.block_tokens;
        return true;
    }

    __device__ __forceinline__ void fill_stage(int32_t number) {
        constexpr int kShare = kConfig.block_tokens / kConfig.cluster_rows;
        const uint32_t mine = ClusterRank<kConfig>::rows() * kShare;
        const uint32_t full = shared_ + Plan::tokens_full(ring_.stage);
        const uint32_t base = shared_ + ring_.stage * Plan::kStageBytes + mine * 128;
        wait_until_empty();
        ptx::mbarrier_arrive_expect_tx(full, Plan::kStageBytes);
#pragma unroll
        for (int q = 0; q < kConfig.k_groups; ++q) {
            load(base + Plan::tokens(q), &params_.activations,
                 (number * kConfig.k_groups + q) * kConfig.chunk_k(), token_ + static_cast<int32_t>(mine),
                 full, policy_, sharers_of_tokens<kConfig>());
        }
        ring_.advance();
    }

    __device__ __forceinline__ void wait_until_empty() const {
        ptx::mbarrier_wait(shared_ + Plan::tokens_empty(ring_.stage), ring_.parity ^ 1);
    }

    const kernels::GemmParams& params_;
    uint32_t shared_;
    uint64_t policy_;
    TileOrder order_;
    Segment segment_;
    int32_t token_ = 0;
    Ring<kConfig.stages> ring_;
};

}  // namespace nestedfp::gemm
