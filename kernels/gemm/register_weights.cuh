// The main loop of a warpgroup that rebuilds or widens its weights in registers.
#pragma once

#include "../nested/rebuild.cuh"
#include "../ptx/mbarrier.cuh"
#include "../ptx/wgmma.cuh"
#include "ring.cuh"
#include "shared_plan.cuh"
#include "stages.cuh"
#include "turn.cuh"

namespace nestedfp::gemm {

/// Weights that pass through registers: planes of bytes in the device's K order become binary16 fragments.
/// A row of 128 bytes holds two chunks of 64 elements. Either a warpgroup takes both, one after the other, or
/// two K groups share the row.
template <kernels::GemmConfig kConfig>
class RegisterWeights {
    using Plan = SharedPlan<kConfig>;
    using Mma = ptx::Wgmma<kConfig.block_tokens>;
    static constexpr bool kIsNested = kConfig.weights == kernels::Weights::kNested16;
    static constexpr bool kTakesBoth = kConfig.k_groups == 1;
    static constexpr bool kHolds = kConfig.stores_in_weights();
    /// The bytes of a chunk are loaded right before the products of the chunk before it are issued, behind
    /// the wait for that one's tokens. Such warpgroups take longer over a chunk than the tensor cores, one
    /// wait after the other (128 x 128, of 690 cycles: 15 for the tensor cores), and a wait behind the loads
    /// would be one for what they bring. Where other warpgroups multiply meanwhile, behind those products.
    /// (Measured against loads before the wait, and widening by shifts: 1.00 to 1.06 and 1.00 to 1.05 times
    /// as fast.)
    static constexpr bool kLoadsFirst = kTakesBoth && !Turn<kConfig>::takes_turns();

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

    /// @param meanwhile is called once, when the first multiplication is under way.
    template <typename Meanwhile>
    __device__ __forceinline__ void run(float (&sums)[kConfig.block_tokens / 2], int32_t steps,
                                        Meanwhile meanwhile) {
        // Two sets of fragments with fixed names: one is multiplied while the other is rebuilt.
        uint32_t even[16], odd[16];
        Raw raw;
        const int32_t chunks = steps * kConfig.token_stages_per_step();
        load<0>(raw);
#pragma unroll
        for (int j = 0; j < 4; ++j) rebuild(raw, even, j);
        release_loaded<0>(chunks == 1);
        if (!kTakesBoth && chunks == 1) {
            step<kIsFirst>(sums, even, odd, raw, chunks, false, meanwhile);
        } else {
            if constexpr (kLoadsFirst) load<1>(raw);
            step<kIsFirst | kRebuilds>(sums, even, odd, raw, chunks, chunks > 2, meanwhile);
            const auto nothing = [] {};
            int32_t i = 1;
            for (; i + 2 < chunks; i += 2) {
                step<kIsOdd | kRebuilds>(sums, odd, even, raw, chunks - i, true, nothing);
                step<kRebuilds>(sums, even, odd, raw, chunks - i - 1, i + 3 < chunks, nothing);
            }
            if (!kTakesBoth && i + 1 < chunks) {
                step<kIsOdd | kRebuilds>(sums, odd, even, raw, chunks - i, false, nothing);
                step<0>(sums, even, odd, raw, chunks - i - 1, false, nothing);
            } else {
                step<kIsOdd>(sums, odd, even, raw, chunks - i, false, nothing);
            }
        }
        ptx::wgmma_wait<0>();
        ptx::settle(sums);
        keep(even);
        keep(odd);
        release_tokens<kConfig>(shared_, previous_);
        held_ = loaded_;
    }

    /// The stage of weights that a run has read last, where the epilogue may put its stores.
    __device__ __forceinline__ uint32_t held_stage() const { return held_; }

    /// Releases it, once nothing reads it any longer.
    __device__ __forceinline__ void give_back() const {
        if constexpr (kHolds) release_weights<kConfig>(shared_, held_);
    }

    __device__ __forceinline__ void finish() const { turn_.finish(); }

   private:
    /// Rows g and g + 8 of a warp's 16, 16 elements each.
    struct Raw {
        uint4 upper[2];
        uint4 lower[2];
    };

    /// What a step is, as flags: the first of a run, of odd number, followed by another whose weights it
    /// rebuilds.
    static constexpr int kIsFirst = 1, kIsOdd = 2, kRebuilds = 4;

    /// Multiplies `now`, a chunk, and then rebuilds the next chunk into `next`.
    /// @param left chunks of the run from this one on. @param has_more whether any follow the next.
    template <int kStep, typename Meanwhile>
    __device__ __forceinline__ void step(float (&sums)[kConfig.block_tokens / 2], uint32_t (&now)[16],
                                         uint32_t (&next)[16], Raw& raw, int32_t left, bool has_more,
                                         Meanwhile meanwhile) {
        constexpr int kParity = kStep & kIsOdd ? 1 : 0;
        const ptx::Descriptor tokens = tokens_at_ + tokens_.stage * Plan::kStageBytes;
        if constexpr (!kLoadsFirst || kStep & kIsFirst) await_tokens();
        turn_.wait(kStep & kIsFirst, left);
        ptx::wgmma_fence();
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            // The next warpgroup's first stands in line behind this one's last.
            if (j == 3) turn_.pass(left);
            Mma::rs_f16(sums, now[4 * j], now[4 * j + 1], now[4 * j + 2], now[4 * j + 3], tokens.at(32 * j),
                        !(kStep & kIsFirst) || j > 0);
        }
        ptx::wgmma_commit();
        if constexpr (!kLoadsFirst && kStep & kRebuilds) load<1 - kParity>(raw);
        if constexpr (kStep & kIsFirst) meanwhile();
        // All of the chunk before is done: its fragments and its stage are free.
        ptx::wgmma_wait<1>();
        keep(next);
        if constexpr (!(kStep & kIsFirst)) release_tokens<kConfig>(shared_, previous_);
        if constexpr (kStep & kRebuilds) {
#pragma unroll
            for (int j = 0; j < 4; ++j) rebuild(raw, next, j);
            release_loaded<1 - kParity>(!has_more);
        }
        previous_ = tokens_.stage;
        tokens_.advance();
        if constexpr (kLoadsFirst && kStep & kRebuilds) {
            await_tokens();
            if (has_more) load<kParity>(raw);
        }
    }

    __device__ __forceinline__ void await_tokens() {
        ptx::mbarrier_wait(shared_ + Plan::tokens_full(tokens_.stage), tokens_.parity);
    }

    /// @tparam kParity of the chunk among those that this warpgroup takes.
    template <int kParity>
    __device__ __forceinline__ void load(Raw& raw) {
        constexpr bool kIsFresh = !kTakesBoth || kParity == 0;
        if constexpr (kIsFresh) {
            ptx::mbarrier_wait(shared_ + Plan::weights_full(weights_.stage), weights_.parity);
        }
        // The second chunk is the other piece of 16 bytes of each pair.
        constexpr uint32_t kPiece = kIsFresh ? 0 : 16;
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
    /// loads. Where stores go there, the last stage of a run is held.
    template <int kParity>
    __device__ __forceinline__ void release_loaded(bool is_last) {
        if (kHolds && is_last) return;
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
                ptx::widen_e4m3x4(upper, low, high);
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
    uint32_t held_ = 0;
    uint32_t previous_ = 0;
};

}  // namespace nestedfp::gemm
