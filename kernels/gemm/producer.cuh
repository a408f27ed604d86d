// The warp that loads: fills the two rings of stages, step after step, for all segments of its block.
#pragma once

#include "../ptx/grid.cuh"
#include "../ptx/mbarrier.cuh"
#include "../ptx/tma.cuh"
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
          rank_(kConfig.cluster > 1 ? ptx::cluster_rank() : 0),
          weights_policy_(params.weights_stream ? ptx::kEvictFirst : ptx::kEvictNormal),
          tokens_policy_(params.weights_stream ? ptx::kEvictLast : ptx::kEvictNormal),
          order_(order) {
        has_segment_ = order_.next(segment_);
    }

    /// Fills the ring of weights as far as the first segment goes. Weights depend on no earlier kernel and
    /// reach no other block, so this comes before any waiting.
    __device__ __forceinline__ void begin() {
        if (!has_segment_) return;
        const int32_t steps = segment_.k_end - segment_.k_begin;
        ahead_ = steps < kConfig.weight_stages ? steps : kConfig.weight_stages;
        for (int32_t i = 0; i < ahead_; ++i) load_weights(segment_.k_begin + i, first_row());
    }

    /// All the rest, once the other blocks of the cluster are there. One thread calls this.
    __device__ __forceinline__ void run() {
        ptx::wait_for_previous_grid();
        for (; has_segment_; has_segment_ = order_.next(segment_)) {
            const int32_t row = first_row();
            const int32_t token = first_token();
            for (int32_t k = segment_.k_begin; k < segment_.k_end; ++k) {
                if (ahead_ > 0) {
                    --ahead_;
                } else {
                    load_weights(k, row);
                }
                load_tokens(k, token);
            }
        }
    }

   private:
    __device__ __forceinline__ int32_t first_row() const {
        int32_t row_tile, token_tile;
        order_.coordinates(segment_.tile, row_tile, token_tile);
        return (row_tile * kConfig.cluster + static_cast<int32_t>(rank_)) * kConfig.block_rows();
    }

    __device__ __forceinline__ int32_t first_token() const {
        int32_t row_tile, token_tile;
        order_.coordinates(segment_.tile, row_tile, token_tile);
        return token_tile * kConfig.block_tokens;
    }

    __device__ __forceinline__ void load_weights(int32_t k, int32_t row) {
        constexpr int kColumns = kConfig.weights == kernels::Weights::kPlain16 ? 64 : kConfig.row_bytes();
        const uint32_t full = shared_ + Plan::weights_full(weights_.stage);
        ptx::mbarrier_wait(shared_ + Plan::weights_empty(weights_.stage), weights_.parity ^ 1);
        ptx::mbarrier_arrive_expect_tx(full, Plan::kWeightStageBytes);
        const uint32_t base = shared_ + weights_.stage * Plan::kWeightStageBytes;
#pragma unroll
        for (int q = 0; q < kConfig.k_groups; ++q) {
            const int32_t column = (k * kConfig.k_groups + q) * kColumns;
            ptx::tma_load(base + Plan::plane(0, q), &params_.weights, column, row, full, weights_policy_);
            if constexpr (kConfig.planes() == 2) {
                ptx::tma_load(base + Plan::plane(1, q), &params_.lower, column, row, full, weights_policy_);
            }
        }
        weights_.advance();
    }

    /// This block's share of the token tile goes to all blocks of the cluster, and theirs come here.
    __device__ __forceinline__ void load_tokens(int32_t k, int32_t token) {
        constexpr int kShare = kConfig.block_tokens / kConfig.cluster;
        const uint32_t full = shared_ + Plan::tokens_full(tokens_.stage);
        // Every block that the load reaches has read the stage.
        ptx::mbarrier_wait(shared_ + Plan::tokens_empty(tokens_.stage), tokens_.parity ^ 1);
        ptx::mbarrier_arrive_expect_tx(full, Plan::kStageBytes);
#pragma unroll
        for (int q = 0; q < kConfig.k_groups; ++q) {
            const int32_t column = (k * kConfig.k_groups + q) * kConfig.chunk_k();
            const uint32_t to =
                shared_ + tokens_.stage * Plan::kStageBytes + Plan::tokens(q) + rank_ * kShare * 128;
            const int32_t row = token + static_cast<int32_t>(rank_) * kShare;
            if constexpr (kConfig.cluster > 1) {
                constexpr uint16_t kAll = (1u << kConfig.cluster) - 1;
                ptx::tma_load_multicast(to, &params_.activations, column, row, full, kAll, tokens_policy_);
            } else {
                ptx::tma_load(to, &params_.activations, column, row, full, tokens_policy_);
            }
        }
        tokens_.advance();
    }

    const kernels::GemmParams& params_;
    uint32_t shared_;
    uint32_t rank_;
    uint64_t weights_policy_;
    uint64_t tokens_policy_;
    Ring<kConfig.stages> tokens_;
    Ring<kConfig.weight_stages> weights_;
    TileOrder order_;
    Segment segment_;
    bool has_segment_;
    int32_t ahead_ = 0;
};

}  // namespace nestedfp::gemm
