// The main loop of a warpgroup whose weights the tensor cores read from shared memory.
#pragma once

#include "../ptx/mbarrier.cuh"
#include "../ptx/wgmma.cuh"
#include "ring.cuh"
#include "shared_plan.cuh"
#include "stages.cuh"

namespace nestedfp::gemm {

/// Weights that the tensor cores read from shared memory themselves.
template <kernels::GemmConfig kConfig>
class SharedWeights {
    using Plan = SharedPlan<kConfig>;
    using Mma = ptx::Wgmma<kConfig.block_tokens>;

   public:
    __device__ __forceinline__ SharedWeights(uint32_t shared, int row_group, int k_group)
        : shared_(shared),
          weights_at_(shared + Plan::plane(0, k_group) + row_group * 64 * 128),
          tokens_at_(shared + Plan::tokens(k_group)) {}

    template <typename Meanwhile>
    __device__ __forceinline__ void run(float (&sums)[kConfig.block_tokens / 2], int32_t steps,
                                        Meanwhile meanwhile) {
        const int32_t stages = steps * kConfig.token_stages_per_step();
        if constexpr (kConfig.promotes()) {
            run_promoted(sums, stages, meanwhile);
        } else {
            run_in_place(sums, stages, meanwhile);
        }
    }

    __device__ __forceinline__ void finish() const {}

    __device__ __forceinline__ uint32_t held_stage() const { return 0; }
    __device__ __forceinline__ void give_back() const {}

   private:
    template <typename Meanwhile>
    __device__ __forceinline__ void run_in_place(float (&sums)[kConfig.block_tokens / 2], int32_t stages,
                                                 Meanwhile meanwhile) {
        uint32_t previous_tokens = 0, previous_weights = 0;
        for (int32_t i = 0; i < stages; ++i) {
            multiply(sums, i > 0);
            if (i == 0) meanwhile();
            ptx::wgmma_wait<1>();
            if (i > 0) release_both(previous_tokens, previous_weights);
            previous_tokens = tokens_.stage;
            previous_weights = weights_.stage;
            tokens_.advance();
            weights_.advance();
        }
        ptx::wgmma_wait<0>();
        ptx::settle(sums);
        release_both(previous_tokens, previous_weights);
    }

    /// Sums of one chunk are added while the next is multiplied.
    template <typename Meanwhile>
    __device__ __forceinline__ void run_promoted(float (&sums)[kConfig.block_tokens / 2], int32_t stages,
                                                 Meanwhile meanwhile) {
        float even[kConfig.block_tokens / 2], odd[kConfig.block_tokens / 2];
#pragma unroll
        for (float& sum : sums) sum = 0;
        multiply(even, false);
        meanwhile();
        int32_t left = stages;
        for (; left > 2; left -= 2) {
            multiply_next(odd);
            add_settled(sums, even);
            multiply_next(even);
            add_settled(sums, odd);
        }
        if (left == 2) {
            multiply_next(odd);
            add_settled(sums, even);
            ptx::wgmma_wait<0>();
            add_settled(sums, odd);
        } else {
            ptx::wgmma_wait<0>();
            add_settled(sums, even);
        }
        release_both(tokens_.stage, weights_.stage);
        tokens_.advance();
        weights_.advance();
    }

    /// Issues the next chunk's products, waits for those before them and gives their stages back.
    __device__ __forceinline__ void multiply_next(float (&part)[kConfig.block_tokens / 2]) {
        const uint32_t tokens = tokens_.stage, weights = weights_.stage;
        tokens_.advance();
        weights_.advance();
        multiply(part, false);
        ptx::wgmma_wait<1>();
        release_both(tokens, weights);
    }

    __device__ __forceinline__ static void add_settled(float (&sums)[kConfig.block_tokens / 2],
                                                       float (&part)[kConfig.block_tokens / 2]) {
        ptx::settle(part);
#pragma unroll
        for (int j = 0; j < kConfig.block_tokens / 2; ++j) sums[j] += part[j];
    }

    /// Issues the products of the stages that come next, once they are there: 128 bytes of K.
    __device__ __forceinline__ void multiply(float (&sums)[kConfig.block_tokens / 2], bool accumulate) {
        ptx::mbarrier_wait(shared_ + Plan::weights_full(weights_.stage), weights_.parity);
        ptx::mbarrier_wait(shared_ + Plan::tokens_full(tokens_.stage), tokens_.parity);
        const ptx::Descriptor weights = weights_at_ + weights_.stage * Plan::kWeightStageBytes;
        const ptx::Descriptor tokens = tokens_at_ + tokens_.stage * Plan::kStageBytes;
        ptx::wgmma_fence();
#pragma unroll
        for (int j = 0; j < 4; ++j) {  // 32 bytes of K each
            if constexpr (kConfig.is_e4m3()) {
                Mma::ss_e4m3(sums, weights.at(32 * j), tokens.at(32 * j), accumulate || j > 0);
            } else {
                Mma::ss_f16(sums, weights.at(32 * j), tokens.at(32 * j), accumulate || j > 0);
            }
        }
        ptx::wgmma_commit();
    }

    __device__ __forceinline__ void release_both(uint32_t tokens, uint32_t weights) {
        release_tokens<kConfig>(shared_, tokens);
        release_weights<kConfig>(shared_, weights);
    }

    static_assert(kConfig.weight_stages_per_step() == kConfig.token_stages_per_step(),
                  "both rings advance together");

    uint32_t shared_;
    ptx::Descriptor weights_at_;
    ptx::Descriptor tokens_at_;
    Ring<kConfig.stages> tokens_;
    Ring<kConfig.weight_stages> weights_;
};

}  // namespace nestedfp::gemm
