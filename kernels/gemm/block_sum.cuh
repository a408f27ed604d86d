// The sums of the blocks of a cut tile meet in the L2.
#pragma once

#include "../ptx/grid.cuh"
#include "../ptx/matrix.cuh"
#include "../ptx/mbarrier.cuh"
#include "barriers.cuh"
#include "exchange.cuh"
#include "ring.cuh"
#include "shared_plan.cuh"
#include "stages.cuh"

namespace nestedfp::gemm {

/// The blocks of a tile that was cut along K: one leaves its sums in the L2, another adds them to its own.
template <kernels::GemmConfig kConfig>
class BlockSum {
    using Split = Pieces<kConfig>;
    static constexpr int kRegisters = kConfig.block_tokens / 2;

   public:
    __device__ __forceinline__ BlockSum(const kernels::GemmParams& params, uint32_t shared, int row_group)
        : params_(params),
          shared_(shared),
          row_group_(row_group),
          // Sixteen bytes of a row of 128, where the swizzle puts them.
          piece_(shared + SharedPlan<kConfig>::tokens(0) + row_group * Split::kPieceBytes +
                 threadIdx.x % 128 / 8 * 128 + ((threadIdx.x % 8) ^ (threadIdx.x / 8 % 8)) * 16) {}

    /// Leaves the chunks that are not this block's own. The warp that tells the readers waits for the stores,
    /// thousands of cycles; this warpgroup does not.
    __device__ __forceinline__ void leave(const float (&sums)[kRegisters],
                                          const Exchange<kConfig>& exchange) const {
        float4* to = Slot<kConfig>(exchange.own).sums(params_, row_group_) + threadIdx.x % 128;
#pragma unroll
        for (int quad = 0; quad < Split::kQuads; ++quad) {
            if (exchange.is_mine(quad / Split::kChunkQuads)) continue;
            const float* sum = &sums[4 * quad];
            __stcg(to + quad * 128, make_float4(sum[0], sum[1], sum[2], sum[3]));
        }
        ptx::barrier_sync<Barriers<kConfig>::kLeftThreads>(Barriers<kConfig>::hears(row_group_));
        ptx::barrier_arrive<Barriers<kConfig>::kLeftThreads>(Barriers<kConfig>::left(row_group_));
    }

    /// Adds what the other blocks left of this block's own chunks, as the loader of tokens brings it.
    /// @param adds false for a K group other than the first, which only lets the stages pass.
    __device__ __forceinline__ void collect(float (&sums)[kRegisters], const Exchange<kConfig>& exchange,
                                            Ring<kConfig.stages>& ring, bool adds) const {
        for (int32_t slot = exchange.first; slot < exchange.end; ++slot) {
            if (slot == exchange.own) continue;
#pragma unroll
            for (int piece = 0; piece < Split::kPieces; ++piece) {
                if (!Split::is_wanted(piece, exchange)) continue;
                ptx::mbarrier_wait(shared_ + SharedPlan<kConfig>::tokens_full(ring.stage), ring.parity);
                if (adds) add(sums, piece, exchange, piece_ + ring.stage * SharedPlan<kConfig>::kStageBytes);
                __syncwarp();
                release_tokens<kConfig>(shared_, ring.stage);
                ring.advance();
            }
        }
    }

   private:
    __device__ __forceinline__ static void add(float (&sums)[kRegisters], int piece,
                                               const Exchange<kConfig>& exchange, uint32_t from) {
#pragma unroll
        for (int i = 0; i < Split::kPieceQuads; ++i) {
            const int quad = piece * Split::kPieceQuads + i;
            if (!exchange.is_mine(quad / Split::kChunkQuads)) continue;
            const float4 v = ptx::load_shared_float4(from + i * Split::kQuadBytes);
            float* sum = &sums[4 * quad];
            sum[0] += v.x;
            sum[1] += v.y;
            sum[2] += v.z;
            sum[3] += v.w;
        }
    }

    const kernels::GemmParams& params_;
    uint32_t shared_;
    int row_group_;
    uint32_t piece_;
};

}  // namespace nestedfp::gemm
