// The main loop of one warpgroup: its rows times the token tile, over the steps of a segment.
#pragma once

#include "../nested/rebuild.cuh"
#include "../ptx/grid.cuh"
#include "../ptx/mbarrier.cuh"
#include "../ptx/wgmma.cuh"
#include "barriers.cuh"
#include "cluster_rank.cuh"
#include "ring.cuh"
#include "shared_plan.cuh"

namespace nestedfp::gemm {

using kernels::Weights;

/// Tells the blocks that load a stage of this block that this warp has read it.
template <typename Blocks>
__device__ __forceinline__ void release(uint32_t empty, Blocks blocks) {
    const uint32_t lane = threadIdx.x % 32;
    if constexpr (Blocks::kCount > 1) {
        if (lane < Blocks::kCount) ptx::mbarrier_arrive_cluster(empty, blocks.first + lane * Blocks::kStride);
    } else {
        if (lane == 0) ptx::mbarrier_arrive(empty);
    }
}

template <kernels::GemmConfig kConfig>
__device__ __forceinline__ void release_tokens(uint32_t shared, uint32_t stage) {
    release(shared + SharedPlan<kConfig>::tokens_empty(stage), sharers_of_tokens<kConfig>());
}

template <kernels::GemmConfig kConfig>
__device__ __forceinline__ void release_weights(uint32_t shared, uint32_t stage) {
    release(shared + SharedPlan<kConfig>::weights_empty(stage), sharers_of_weights<kConfig>());
}

/// The row groups of a block take the tensor cores in turn, a chunk each, so that one rebuilds weights while
/// another multiplies. K groups do not: their tiles are narrow, and memory is their limit.
template <kernels::GemmConfig kConfig>
class Turn {
    static constexpr int kTakers = kConfig.k_groups == 1 ? kConfig.row_groups : 1;

   public:
    __device__ __forceinline__ explicit Turn(int warpgroup)
        : mine_(Barriers<kConfig>::turn(warpgroup)),
          next_(Barriers<kConfig>::turn(warpgroup + 1 == kTakers ? 0 : warpgroup + 1)) {
        if (kTakers > 1 && warpgroup + 1 == kTakers) pass();
    }

    __device__ __forceinline__ void wait() const {
        if constexpr (kTakers > 1) ptx::barrier_sync<256>(mine_);
    }
    __device__ __forceinline__ void pass() const {
        if constexpr (kTakers > 1) ptx::barrier_arrive<256>(next_);
    }

    /// Takes the turn that was passed last: no barrier is left with threads that have arrived.
    __device__ __forceinline__ void finish() const {
        if (kTakers > 1 && mine_ == Barriers<kConfig>::turn(0)) wait();
    }

   private:
    int mine_;
    int next_;
};

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
        for (int32_t i = 0; i < steps * kConfig.token_stages_per_step(); ++i) {
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
            if (i > 0) release_both(previous_tokens, previous_weights);
            previous_tokens = tokens_.stage;
            previous_weights = weights_.stage;
            tokens_.advance();
            weights_.advance();
        }
        ptx::wgmma_wait<0>();
        release_both(previous_tokens, previous_weights);
    }

    __device__ __forceinline__ void finish() const {}

   private:
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

/// Weights that pass through registers: planes of bytes in the device's K order become binary16 fragments.
/// A row of 128 bytes holds two chunks of 64 elements. Either a warpgroup takes both, one after the other, or
/// two K groups share the row.
template <kernels::GemmConfig kConfig>
class RegisterWeights {
    using Plan = SharedPlan<kConfig>;
    using Mma = ptx::Wgmma<kConfig.block_tokens>;
    static constexpr bool kIsNested = kConfig.weights == Weights::kNested16;
    static constexpr bool kTakesBoth = kConfig.k_groups == 1;

   public:
    __device__ __forceinline__ RegisterWeights(uint32_t shared, int row_group, int k_group)
        : shared_(shared),
          tokens_at_(shared + Plan::tokens(k_group)),
          turn_(row_group + kConfig.row_groups * k_group) {
        const uint32_t lane = threadIdx.x % 32;
        const uint32_t row = row_group * 64 + threadIdx.x / 32 % 4 * 16 + lane / 4;
        // Sixteen bytes of the row, where the swizzle puts them: the eight lanes that read at once meet all
        // banks.
        const uint32_t piece = (lane % 4 * 2 + k_group % 2) ^ (row % 8);
        const uint32_t offset = row * 128 + piece * 16;
        weights_at_ = shared + Plan::plane(0, k_group / 2) + offset;
    }

    __device__ __forceinline__ void run(float (&sums)[kConfig.block_tokens / 2], int32_t steps) {
        // Two sets of fragments with fixed names: one is multiplied while the other is rebuilt.
        uint32_t even[16], odd[16];
        Raw raw;
        is_first_ = true;
        load<0>(raw);
#pragma unroll
        for (int j = 0; j < 4; ++j) rebuild(raw, even, j);
        release_loaded<0>();
        int32_t left = steps * kConfig.token_stages_per_step() - 1;
        if (left > 0) load<1>(raw);
        for (; left > 1; left -= 2) {
            step<true, 0>(sums, even, odd, raw, true);
            step<true, 1>(sums, odd, even, raw, left > 2);
        }
        if (left == 1) {
            step<true, 0>(sums, even, odd, raw, false);
            step<false, 1>(sums, odd, even, raw, false);
        } else {
            step<false, 0>(sums, even, odd, raw, false);
        }
        ptx::wgmma_wait<0>();
        keep(even);
        keep(odd);
        release_tokens<kConfig>(shared_, previous_);
    }

    __device__ __forceinline__ void finish() const { turn_.finish(); }

   private:
    /// Rows g and g + 8 of a warp's 16, 16 elements each.
    struct Raw {
        uint4 upper[2];
        uint4 lower[2];
    };

    /// Multiplies `now`, a chunk of number kParity in its step, and then rebuilds the next chunk into `next`.
    template <bool kRebuild, int kParity>
    __device__ __forceinline__ void step(float (&sums)[kConfig.block_tokens / 2], uint32_t (&now)[16],
                                         uint32_t (&next)[16], Raw& raw, bool has_more) {
        const uint32_t offset = tokens_.stage * Plan::kStageBytes;
        ptx::mbarrier_wait(shared_ + Plan::tokens_full(tokens_.stage), tokens_.parity);
        turn_.wait();
        ptx::wgmma_fence();
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            // The next warpgroup's first stands in line behind this one's last.
            if (j == 3) turn_.pass();
            Mma::rs_f16(sums, now[4 * j], now[4 * j + 1], now[4 * j + 2], now[4 * j + 3],
                        tokens_at_.at(offset + 32 * j), !is_first_ || j > 0);
        }
        ptx::wgmma_commit();
        // All of the chunk before is done: its fragments and its stage are free.
        ptx::wgmma_wait<1>();
        keep(next);
        if (!is_first_) release_tokens<kConfig>(shared_, previous_);
        if constexpr (kRebuild) {
#pragma unroll
            for (int j = 0; j < 4; ++j) rebuild(raw, next, j);
            release_loaded<1 - kParity>();
            if (has_more) load<kParity>(raw);
        }
        previous_ = tokens_.stage;
        tokens_.advance();
        is_first_ = false;
    }

    /// @tparam kParity of the chunk among those that this warpgroup takes.
    template <int kParity>
    __device__ __forceinline__ void load(Raw& raw) {
        constexpr bool kIsFirst = !kTakesBoth || kParity == 0;
        if constexpr (kIsFirst) {
            ptx::mbarrier_wait(shared_ + Plan::weights_full(weights_.stage), weights_.parity);
        }
        // The second chunk is the other piece of 16 bytes of each pair.
        constexpr uint32_t kPiece = kIsFirst ? 0 : 16;
        constexpr uint32_t kLower = kIsNested ? Plan::plane(1, 0) - Plan::plane(0, 0) : 0;
        const uint32_t at = (weights_at_ ^ kPiece) + weights_.stage * Plan::kWeightStageBytes;
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            raw.upper[h] = ptx::load_shared_16(at + h * 8 * 128);
            if constexpr (kIsNested) raw.lower[h] = ptx::load_shared_16(at + kLower + h * 8 * 128);
        }
        if constexpr (kIsLast<kParity>) {
            loaded_ = weights_.stage;
            weights_.advance();
        }
    }

    /// Of the chunks that this warpgroup takes of a stage.
    template <int kParity>
    static constexpr bool kIsLast = !kTakesBoth || kParity == 1;

    /// To be called when a part of what was loaded last has been used: each part takes words of all four
    /// loads.
    template <int kParity>
    __device__ __forceinline__ void release_loaded() {
        if constexpr (kIsLast<kParity>) release_weights<kConfig>(shared_, loaded_);
    }

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
    Turn<kConfig> turn_;
    uint32_t weights_at_;
    Ring<kConfig.stages> tokens_;
    Ring<kConfig.weight_stages> weights_;
    uint32_t loaded_ = 0;
    uint32_t previous_ = 0;
    bool is_first_ = true;
};

}  // namespace nestedfp::gemm
