// Whose turn it is at the tensor cores.
#pragma once

#include "../ptx/grid.cuh"
#include "barriers.cuh"

namespace nestedfp::gemm {

/// The row groups of a block take the tensor cores in turn, a chunk each, so that one rebuilds weights while
/// another multiplies. Of narrow tiles they do not: a chunk is over before the next group has heard that it
/// is its turn.
template <kernels::GemmConfig kConfig>
class Turn {
    static constexpr int kTakers =
        kConfig.k_groups == 1 && kConfig.block_tokens >= 192 ? kConfig.row_groups : 1;

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

}  // namespace nestedfp::gemm
