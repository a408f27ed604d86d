// Whose turn it is at the tensor cores.
#pragma once

#include <cstdint>

#include "../ptx/grid.cuh"
#include "barriers.cuh"

namespace nestedfp::gemm {

/// The row groups of a block take the tensor cores in turn, a chunk each, so that one rebuilds weights while
/// another multiplies. The last chunks of a run are one turn: while one group multiplies them, the one before
/// already leaves its sums, and the tensor cores do not wait for all groups at once. (Measured: 1.01 to 1.04
/// times as fast where tiles are cut.) Of narrow tiles they take no turns: a chunk is over before the next
/// group has heard that it is its turn.
template <kernels::GemmConfig kConfig>
class Turn {
    static constexpr bool kTakesTurns = kConfig.k_groups == 1 && kConfig.block_tokens >= 192;
    static constexpr int kTakers = kTakesTurns ? kConfig.row_groups : 1;
    /// A group that waits has not given the stage of its last chunk back: with as many chunks as there are
    /// stages the group before it would wait for that one for ever.
    static constexpr int kLastChunks = kConfig.stages - 1;
    static_assert(
        kTakers == 1 || !kConfig.stores_in_weights() || kConfig.weight_stages >= 3,
        "a group that has the turn loads weights while those after it still hold a stage for stores");

   public:
    static constexpr bool takes_turns() { return kTakers > 1; }

    __device__ __forceinline__ explicit Turn(int warpgroup)
        : mine_(Barriers<kConfig>::turn(warpgroup)),
          next_(Barriers<kConfig>::turn(warpgroup + 1 == kTakers ? 0 : warpgroup + 1)) {
        if (kTakers > 1 && warpgroup + 1 == kTakers) ptx::barrier_arrive<256>(next_);
    }

    /// @param left chunks of the run from this one on.
    __device__ __forceinline__ void wait(bool is_first, int32_t left) const {
        if (kTakers > 1 && (is_first || left >= kLastChunks)) ptx::barrier_sync<256>(mine_);
    }
    __device__ __forceinline__ void pass(int32_t left) const {
        if (kTakers > 1 && (left == 1 || left > kLastChunks)) ptx::barrier_arrive<256>(next_);
    }

    /// Takes the turn that was passed last: no barrier is left with threads that have arrived.
    __device__ __forceinline__ void finish() const {
        if (kTakers > 1 && mine_ == Barriers<kConfig>::turn(0)) ptx::barrier_sync<256>(mine_);
    }

   private:
    int mine_;
    int next_;
};

}  // namespace nestedfp::gemm
