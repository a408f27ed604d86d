// The warp that loads: fills the two rings of stages, step after step, for all segments of its block.
#pragma once

#include "../ptx/grid.cuh"
#include "../ptx/mbarrier.cuh"
#include "../ptx/tma.cuh"
#include "cluster_rank.cuh"
#include "ring.cuh"
#include "shared_plan.cuh"
#include "tile_order.cuh"

namespace nestedfp::gemm {

template <kernels::GemmConfig kConfig>
class Producer {
    using Plan = SharedPlan<kConfig>;

   public:
    __device__ __forceinline__ Producer(const kernels::GemmParams& params, uint32_t shared,
                                        const TileOrder& order)
        : params_(params),
          shared_(shared),
          weights_policy_(params.weights_stream ? ptx::kEvictFirst : ptx::kEvictNormal),
          tokens_policy_(params.weights_stream ? ptx::kEvictLast : ptx::kEvictNormal),
          order_(order) {
        has_segment_ = order_.next(segment_);
    }

    /// Fills the ring of weights as far as the first segment goes, before the kernel before this one has
    /// ended: no weight depends on it. Where blocks share weights their barriers must be ready.
    __device__ __forceinline__ void begin() {
        if (!has_segment_) return;
        const int32_t stages = (segment_.k_end - segment_.k_begin) * kConfig.weight_stages_per_step();
        ahead_ = stages < kConfig.weight_stages ? stages : kConfig.weight_stages;
        find_tile();
        for (int32_t i = 0; i < ahead_; ++i) {
            load_weights(segment_.k_begin * kConfig.weight_stages_per_step() + i);
        }
    }

    /// All the rest, once the other blocks of the cluster are there. One thread calls this.
    __device__ __forceinline__ void run() {
        ptx::wait_for_previous_grid();
        for (; has_segment_; has_segment_ = order_.next(segment_)) {
            find_tile();
            for (int32_t k = segment_.k_begin; k < segment_.k_end; ++k) {
#pragma unroll
                for (int i = 0; i < kConfig.token_stages_per_step(); ++i) {
                    if (i < kConfig.weight_stages_per_step()) {
                        const int32_t stage = k * kConfig.weight_stages_per_step() + i;
                        if (ahead_ > 0) {
                            --ahead_;
                        } else {
                            load_weights(stage);
                        }
                    }
                    load_tokens(k * kConfig.token_stages_per_step() + i);
                }
            }
        }
        // Other blocks arrive at this one's barriers: it may leave only when they have.
        if constexpr (kConfig.cluster_rows > 1) {
            for (int i = 0; i < kConfig.stages; ++i, tokens_.advance()) wait_until_tokens_empty();
        }
        if constexpr (kConfig.cluster_tokens > 1) {
            for (int i = 0; i < kConfig.weight_stages; ++i, weights_.advance()) wait_until_weights_empty();
        }
    }

   private:
    /// Where the rows and the tokens of this block begin, in the segment at hand.
    __device__ __forceinline__ void find_tile() {
        int32_t row_tile, token_tile;
        order_.coordinates(segment_.tile, row_tile, token_tile);
        row_ = (row_tile * kConfig.cluster_rows + static_cast<int32_t>(ClusterRank<kConfig>::rows())) *
               kConfig.block_rows();
        token_ =
            (token_tile * kConfig.cluster_tokens + static_cast<int32_t>(ClusterRank<kConfig>::tokens())) *
            kConfig.block_tokens;
    }

    /// Fills the stage of this number along K. Of rows that several blocks have in common, each loads a share
    /// for all.
    __device__ __forceinline__ void load_weights(int32_t stage) {
        constexpr int kShare = kConfig.block_rows() / kConfig.cluster_tokens;
        const uint32_t mine = ClusterRank<kConfig>::tokens() * kShare;
        const uint32_t full = shared_ + Plan::weights_full(weights_.stage);
        const uint32_t base = shared_ + weights_.stage * Plan::kWeightStageBytes + mine * 128;
        wait_until_weights_empty();
        ptx::mbarrier_arrive_expect_tx(full, Plan::kWeightStageBytes);
#pragma unroll
        for (int chunk = 0; chunk < kConfig.weight_chunks(); ++chunk) {
#pragma unroll
            for (int plane = 0; plane < kConfig.planes(); ++plane) {
                load(base + Plan::plane(plane, chunk), plane == 0 ? &params_.weights : &params_.lower,
                     (stage * kConfig.weight_chunks() + chunk) * kConfig.weight_chunk_k(),
                     row_ + static_cast<int32_t>(mine), full, weights_policy_, sharers_of_weights<kConfig>());
            }
        }
        weights_.advance();
    }

    /// As load_weights, for all K groups.
    __device__ __forceinline__ void load_tokens(int32_t stage) {
        constexpr int kShare = kConfig.block_tokens / kConfig.cluster_rows;
        const uint32_t mine = ClusterRank<kConfig>::rows() * kShare;
        const uint32_t full = shared_ + Plan::tokens_full(tokens_.stage);
        const uint32_t base = shared_ + tokens_.stage * Plan::kStageBytes + mine * 128;
        wait_until_tokens_empty();
        ptx::mbarrier_arrive_expect_tx(full, Plan::kStageBytes);
#pragma unroll
        for (int q = 0; q < kConfig.k_groups; ++q) {
            load(base + Plan::tokens(q), &params_.activations,
                 (stage * kConfig.k_groups + q) * kConfig.chunk_k(), token_ + static_cast<int32_t>(mine),
                 full, tokens_policy_, sharers_of_tokens<kConfig>());
        }
        tokens_.advance();
    }

    /// Until all blocks that a load of the stage reaches have read it.
    __device__ __forceinline__ void wait_until_weights_empty() const {
        ptx::mbarrier_wait(shared_ + Plan::weights_empty(weights_.stage), weights_.parity ^ 1);
    }
    __device__ __forceinline__ void wait_until_tokens_empty() const {
        ptx::mbarrier_wait(shared_ + Plan::tokens_empty(tokens_.stage), tokens_.parity ^ 1);
    }

    template <typename Blocks>
    __device__ __forceinline__ static void load(uint32_t to, const void* map, int32_t column, int32_t row,
                                                uint32_t full, uint64_t policy, Blocks blocks) {
        if constexpr (Blocks::kCount > 1) {
            ptx::tma_load_multicast(to, map, column, row, full, blocks.mask(), policy);
        } else {
            ptx::tma_load(to, map, column, row, full, policy);
        }
    }

    const kernels::GemmParams& params_;
    uint32_t shared_;
    uint64_t weights_policy_;
    uint64_t tokens_policy_;
    Ring<kConfig.stages> tokens_;
    Ring<kConfig.weight_stages> weights_;
    TileOrder order_;
    Segment segment_;
    bool has_segment_;
    int32_t row_ = 0;
    int32_t token_ = 0;
    int32_t ahead_ = 0;
};

}  // namespace nestedfp::gemm
