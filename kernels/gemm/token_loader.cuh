// The warp that loads tokens; it and the warp that loads weights do not wait for each other.
#pragma once

#include "../ptx/grid.cuh"
#include "../ptx/mbarrier.cuh"
#include "cluster_load.cuh"
#include "ring.cuh"
#include "shared_plan.cuh"
#include "work.cuh"

namespace nestedfp::gemm {

/// As WeightLoader, the ring of tokens, with the chunks of all K groups in a stage. Tokens are what the
/// kernel before this one may have written: they wait for its end, but where the operands are swapped.
template <kernels::GemmConfig kConfig>
class TokenLoader {
    using Plan = SharedPlan<kConfig>;

   public:
    __device__ __forceinline__ TokenLoader(const kernels::GemmParams& params, uint32_t shared)
        : params_(params),
          shared_(shared),
          policy_(!params.weights_stream     ? ptx::kEvictNormal
                  : kConfig.swaps_operands() ? ptx::kEvictFirst
                                             : ptx::kEvictLast) {}

    /// One thread calls this, when the barriers of the blocks that share tokens are ready.
    /// @param work the block's first, from `order`.
    __device__ __forceinline__ void run(TileOrder& order, Work<kConfig> work) {
        // What can be done before the grid before has ended is.
        ptx::prefetch_tensor_map(&params_.activations);
        find_rows(work);
        expect_first_stages(work);
        if constexpr (!kConfig.swaps_operands()) ptx::wait_for_previous_grid();
        bool is_first = true;
        while (true) {
            const int32_t end = work.segment.k_end * kConfig.token_stages_per_step();
#pragma unroll 1
            for (int32_t i = work.segment.k_begin * kConfig.token_stages_per_step(); i < end; ++i) {
                fill_stage(i);
                if (kConfig.awaits_first_stage() && is_first) {
                    ptx::mbarrier_wait(shared_ + Plan::tokens_full(0), 0);
                    is_first = false;
                }
            }
            if (!work.next(order)) break;
            find_rows(work);
        }
        if constexpr (kConfig.cluster_rows > 1) {
            for (int i = 0; i < kConfig.stages; ++i, ring_.advance()) wait_until_empty();
        }
    }

   private:
    /// Of tokens that several blocks have in common, each loads a share for all.
    static constexpr int kShare = kConfig.block_tokens / kConfig.cluster_rows;

    __device__ __forceinline__ void find_rows(const Work<kConfig>& work) {
        bytes_ = kConfig.k_groups * 128 * rows_inside(params_.m - work.token(), kConfig.block_tokens);
        token_ = work.token() + static_cast<int32_t>(first_of_share());
        rows_ = rows_inside(params_.m - token_, kShare);
    }

    __device__ __forceinline__ static uint32_t first_of_share() {
        return ClusterRank<kConfig>::rows() * kShare;
    }

    /// All stages are empty at first: nothing but copies is left to be done later.
    __device__ __forceinline__ void expect_first_stages(const Work<kConfig>& work) {
        const int32_t steps = work.segment.k_end - work.segment.k_begin;
        expected_ = min(kConfig.stages, steps * kConfig.token_stages_per_step());
        for (int32_t i = 0; i < expected_; ++i) {
            ptx::mbarrier_arrive_expect_tx(shared_ + Plan::tokens_full(i), bytes_);
        }
    }

    __device__ __forceinline__ void fill_stage(int32_t number) {
        const uint32_t full = shared_ + Plan::tokens_full(ring_.stage);
        const uint32_t base = shared_ + ring_.stage * Plan::kStageBytes + first_of_share() * 128;
        if (expected_ > 0) {
            --expected_;
        } else {
            wait_until_empty();
            ptx::mbarrier_arrive_expect_tx(full, bytes_);
        }
        const auto* map = rows_ == kShare ? &params_.activations : &params_.last_activations;
#pragma unroll
        for (int q = 0; q < kConfig.k_groups; ++q) {
            if (rows_ == 0) break;
            load(base + Plan::tokens(q), map, (number * kConfig.k_groups + q) * kConfig.chunk_k(), token_,
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
    /// The first token that this block loads, how many, and the bytes of all that reach its stage.
    int32_t token_ = 0;
    int32_t rows_ = 0;
    uint32_t bytes_ = 0;
    /// Stages to come next that expect their bytes already.
    int32_t expected_ = 0;
    Ring<kConfig.stages> ring_;
};

}  // namespace nestedfp::gemm
