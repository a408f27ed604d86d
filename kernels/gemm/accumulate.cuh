// The main loop of one warpgroup: its rows times the token tile, over the steps of a segment.
#pragma once

#include "../nested/rebuild.cuh"
#include "../ptx/mbarrier.cuh"
#include "../ptx/wgmma.cuh"
#include "ring.cuh"
#include "shared_plan.cuh"

namespace nestedfp::gemm {

using kernels::Weights;

/// Tells the blocks that share token tiles with this one that this warp has read the stage.
template <kernels::GemmConfig kConfig>
__device__ __forceinline__ void release_tokens(uint32_t shared, uint32_t stage) {
    const uint32_t empty = shared + SharedPlan<kConfig>::tokens_empty(stage);
    const uint32_t lane = threadIdx.x % 32;
    if constexpr (kConfig.cluster > 1) {
        if (lane < kConfig.cluster) ptx::mbarrier_arrive_cluster(empty, lane);
    } else {
        if (lane == 0) ptx::mbarrier_arrive(empty);
    }
}

template <kernels::GemmConfig kConfig>
__device__ __forceinline__ void release_weights(uint32_t shared, uint32_t stage) {
    if (threadIdx.x % 32 == 0) ptx::mbarrier_arrive(shared + SharedPlan<kConfig>::weights_empty(stage));
}

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

    __device__ __forceinline__ void run(float (&sums)[kConfig.block_tokens / 2], int32_t steps) {
        uint32_t previous_tokens = 0, previous_weights = 0;
        for (int32_t i = 0; i < steps; ++i) {
            ptx::mbarrier_wait(shared_ + Plan::weights_full(weights_.stage), weights_.parity);
            ptx::mbarrier_wait(shared_ + Plan::tokens_full(tokens_.stage), tokens_.parity);
            const uint32_t a = weights_.stage * Plan::kWeightStageBytes;
            const uint32_t b = tokens_.stage * Plan::kStageBytes;
            ptx::wgmma_fence();
#pragma unroll
            for (int j = 0; j < 4; ++j) {  // 32 bytes of K each
                if constexpr (kConfig.weights == Weights::kW8A8) {
                    Mma::ss_e4m3(sums, weights_at_.at(a + 32 * j), tokens_at_.at(b + 32 * j), i > 0 || j > 0);
                } else {
                    Mma::ss_f16(sums, weights_at_.at(a + 32 * j), tokens_at_.at(b + 32 * j), i > 0 || j > 0);
                }
            }
            ptx::wgmma_commit();
            ptx::wgmma_wait<1>();
            if (i > 0) release(previous_tokens, previous_weights);
            previous_tokens = tokens_.stage;
            previous_weights = weights_.stage;
            tokens_.advance();
            weights_.advance();
        }
        ptx::wgmma_wait<0>();
        release(previous_tokens, previous_weights);
    }

   private:
    __device__ __forceinline__ void release(uint32_t tokens, uint32_t weights) {
        release_tokens<kConfig>(shared_, tokens);
        release_weights<kConfig>(shared_, weights);
    }

    uint32_t shared_;
    ptx::Descriptor weights_at_;
    ptx::Descriptor tokens_at_;
    Ring<kConfig.stages> tokens_;
    Ring<kConfig.weight_stages> weights_;
};

/// Weights that pass through registers: planes of bytes in the device's K order become binary16 fragments.
template <kernels::GemmConfig kConfig>
class RegisterWeights {
    using Plan = SharedPlan<kConfig>;
    using Mma = ptx::Wgmma<kConfig.block_tokens>;
    static constexpr bool kIsNested = kConfig.weights == Weights::kNested16;

   public:
    __device__ __forceinline__ RegisterWeights(uint32_t shared, int row_group, int k_group)
        : shared_(shared), tokens_at_(shared + Plan::tokens(k_group)) {
        const uint32_t lane = threadIdx.x % 32;
        const uint32_t warp = threadIdx.x / 32 % 4;
        const uint32_t row = row_group * 64 + warp * 16 + lane / 4;
        const uint32_t offset = row * 64 + lane % 4 * 16;
        upper_at_ = shared + Plan::plane(0, k_group) + offset;
        lower_at_ = kIsNested ? shared + Plan::plane(1, k_group) + offset : 0;
    }

    __device__ __forceinline__ void run(float (&sums)[kConfig.block_tokens / 2], int32_t steps) {
        // Two sets of fragments with fixed names: one is multiplied while the other is rebuilt.
        uint32_t even[16], odd[16];
        Raw raw;
        is_first_ = true;
        load(raw);
#pragma unroll
        for (int j = 0; j < 4; ++j) rebuild(raw, even, j);
        release_loaded();
        int32_t left = steps - 1;
        if (left > 0) load(raw);
        for (; left > 1; left -= 2) {
            step<true>(sums, even, odd, raw, true);
            step<true>(sums, odd, even, raw, left > 2);
        }
        if (left == 1) {
            step<true>(sums, even, odd, raw, false);
            step<false>(sums, odd, even, raw, false);
        } else {
            step<false>(sums, even, odd, raw, false);
        }
        ptx::wgmma_wait<0>();
        keep(even);
        keep(odd);
        release_tokens<kConfig>(shared_, previous_);
    }

   private:
    /// Rows g and g + 8 of a warp's 16, 16 elements each.
    struct Raw {
        uint4 upper[2];
        uint4 lower[2];
    };

    /// Multiplies `now`, and in between rebuilds the planes of the next step into `next`: a wgmma with A in
    /// registers holds its warp until the tensor core takes it, so that what follows all four would leave the
    /// core idle.
    template <bool kRebuild>
    __device__ __forceinline__ void step(float (&sums)[kConfig.block_tokens / 2], uint32_t (&now)[16],
                                         uint32_t (&next)[16], Raw& raw, bool has_more) {
        const uint32_t offset = tokens_.stage * Plan::kStageBytes;
        const auto multiply = [&](int j) {
            ptx::wgmma_fence();
            Mma::rs_f16(sums, now[4 * j], now[4 * j + 1], now[4 * j + 2], now[4 * j + 3],
                        tokens_at_.at(offset + 32 * j), !is_first_ || j > 0);
        };
        ptx::mbarrier_wait(shared_ + Plan::tokens_full(tokens_.stage), tokens_.parity);
        multiply(0);
        ptx::wgmma_commit();
        // All of the step before is done: its fragments and its stage are free.
        ptx::wgmma_wait<1>();
        keep(next);
        if (!is_first_) release_tokens<kConfig>(shared_, previous_);
        if constexpr (kRebuild) {
            rebuild(raw, next, 0);
            multiply(1);
            release_loaded();
            rebuild(raw, next, 1);
            multiply(2);
            rebuild(raw, next, 2);
            multiply(3);
            ptx::wgmma_commit();
            rebuild(raw, next, 3);
            if (has_more) load(raw);
        } else {
#pragma unroll
            for (int j = 1; j < 4; ++j) multiply(j);
            ptx::wgmma_commit();
        }
        previous_ = tokens_.stage;
        tokens_.advance();
        is_first_ = false;
    }

    __device__ __forceinline__ void load(Raw& raw) {
        ptx::mbarrier_wait(shared_ + Plan::weights_full(weights_.stage), weights_.parity);
        const uint32_t offset = weights_.stage * Plan::kWeightStageBytes;
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            raw.upper[h] = ptx::load_shared_16(upper_at_ + offset + h * 8 * 64);
            if constexpr (kIsNested) raw.lower[h] = ptx::load_shared_16(lower_at_ + offset + h * 8 * 64);
        }
        loaded_ = weights_.stage;
        weights_.advance();
    }

    /// To be called when a part of what was loaded last has been used: each part takes words of all four
    /// loads.
    __device__ __forceinline__ void release_loaded() { release_weights<kConfig>(shared_, loaded_); }

    /// The four fragments of 16 elements of K.
    __device__ __forceinline__ static void rebuild(const Raw& raw, uint32_t (&fragments)[16], int j) {
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            const uint32_t uppers[4] = {raw.upper[h].x, raw.upper[h].y, raw.upper[h].z, raw.upper[h].w};
            const uint32_t lowers[4] = {raw.lower[h].x, raw.lower[h].y, raw.lower[h].z, raw.lower[h].w};
            uint32_t upper = uppers[j];
            uint32_t lower = kIsNested ? lowers[j] : 0;
            uint32_t low, high;
            // Keeps the compiler from rebuilding earlier, into registers still in use, or later.
            asm volatile("" : "+r"(upper), "+r"(lower));
            if constexpr (kIsNested) {
                nested::rebuild(upper, lower, low, high);
            } else {
                nested::widen(upper, low, high);
            }
            asm volatile("" : "+r"(low), "+r"(high));
            fragments[4 * j + h] = low;
            fragments[4 * j + 2 + h] = high;
        }
    }

    /// A wgmma reads its A registers until it is waited for, which the compiler does not know: this reads
    /// them last.
    __device__ __forceinline__ static void keep(uint32_t (&fragments)[16]) {
#pragma unroll
        for (int i = 0; i < 16; ++i) asm volatile("" ::"r"(fragments[i]));
    }

    uint32_t shared_;
    ptx::Descriptor tokens_at_;
    uint32_t upper_at_;
    uint32_t lower_at_;
    Ring<kConfig.stages> tokens_;
    Ring<kConfig.weight_stages> weights_;
    uint32_t loaded_ = 0;
    uint32_t previous_ = 0;
    bool is_first_ = true;
};

}  // namespace nestedfp::gemm
