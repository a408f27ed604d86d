// The warp that loads weights.
#pragma once

#include "../interface/planes.h"
#include "../ptx/grid.cuh"
#include "../ptx/mbarrier.cuh"
#include "cluster_load.cuh"
#include "ring.cuh"
#include "shared_plan.cuh"
#include "work.cuh"

namespace nestedfp::gemm {

/// Fills the ring of weights, for all segments of the block. It runs ahead as far as the ring goes, before
/// the kernel before this one has ended: no weight depends on it. (Where the operands are swapped, see
/// kernels::Weights::kA8W8, this loads activations and waits.)
template <kernels::GemmConfig kConfig>
class WeightLoader {
    using Plan = SharedPlan<kConfig>;

   public:
    __device__ __forceinline__ WeightLoader(const kernels::GemmParams& params, uint32_t shared)
        : params_(params),
          shared_(shared),
          policy_(!params.weights_stream     ? ptx::kEvictNormal
                  : kConfig.swaps_operands() ? ptx::kEvictLast
                                             : ptx::kEvictFirst) {}

    /// One thread calls this, when the barriers of the blocks that share weights are ready.
    /// @param work the block's first, from `order`.
    __device__ __forceinline__ void run(TileOrder& order, Work<kConfig> work) {
        // What the kernel before this one may have written.
        if constexpr (kConfig.swaps_operands()) ptx::wait_for_previous_grid();
        bool is_first = true;
        do {
            const int32_t row = work.row(0);
            const int32_t end = work.segment.k_end * kConfig.weight_stages_per_step();
#pragma unroll 1
            for (int32_t i = work.segment.k_begin * kConfig.weight_stages_per_step(); i < end; ++i) {
                fill_stage(i, row);
                if (kConfig.awaits_first_stage() && is_first) {
                    ptx::mbarrier_wait(shared_ + Plan::weights_full(0), 0);
                    is_first = false;
                }
            }
        } while (work.next(order));
        // Other blocks arrive at this one's barriers: it may leave only when they have.
        if constexpr (kConfig.cluster_tokens > 1) {
            for (int i = 0; i < kConfig.weight_stages; ++i, ring_.advance()) wait_until_empty();
        }
    }

   private:
    /// Of rows that several blocks have in common, each loads a share for all.
    static constexpr int kShare = kConfig.block_rows() / kConfig.cluster_tokens;
    /// Rows of a copy of the lower plane.
    static constexpr int kBox = kernels::lower_box_rows(kShare);
    static_assert(kShare % kBox == 0, "a share is whole copies");
    static_assert(kBox <= kernels::kLowerTileRows, "a copy stays inside a tile");

    /// @param number of the stage along K. @param row of the tile's first.
    __device__ __forceinline__ void fill_stage(int32_t number, int32_t row) {
        const uint32_t mine = ClusterRank<kConfig>::tokens() * kShare;
        const uint32_t full = shared_ + Plan::weights_full(ring_.stage);
        const uint32_t base = shared_ + ring_.stage * Plan::kWeightStageBytes + mine * 128;
        const int32_t first = row + static_cast<int32_t>(mine);
        const int32_t rows = rows_inside(params_.n - first, kShare);
        wait_until_empty();
        ptx::mbarrier_arrive_expect_tx(full, stage_bytes(rows_inside(params_.n - row, kConfig.block_rows())));
        const auto* map = rows == kShare ? &params_.weights : &params_.last_weights;
#pragma unroll
        for (int chunk = 0; chunk < kConfig.weight_chunks(); ++chunk) {
            const int32_t along_k = number * kConfig.weight_chunks() + chunk;
            if (rows > 0) {
                load(base + Plan::plane(0, chunk), map, along_k * kConfig.weight_chunk_k(), first, full,
                     policy_, sharers_of_weights<kConfig>());
            }
            if constexpr (kConfig.planes() == 1) continue;
            const int32_t groups = params_.lower_groups;
            // Beyond K zeros must come, as of the upper plane: with the residuals of other weights those
            // would be NaN, which tokens of zero do not silence.
            const bool is_beyond = kConfig.weight_chunks() > 1 && along_k >= groups;
#pragma unroll
            for (int part = 0; part < kShare; part += kBox) {
                if (part >= rows) break;
                load(base + Plan::plane(1, chunk) + part * 128, &params_.lower, 0,
                     is_beyond ? kernels::kBeyondLower : kernels::lower_row(first + part, along_k, groups),
                     full, policy_, sharers_of_weights<kConfig>());
            }
        }
        ring_.advance();
    }

    /// What arrives of so many rows of the tile: of the lower plane whole copies.
    __device__ __forceinline__ static uint32_t stage_bytes(int32_t rows) {
        const int32_t of_lower = kConfig.planes() == 2 ? (rows + kBox - 1) / kBox * kBox : 0;
        return kConfig.weight_chunks() * 128 * (rows + of_lower);
    }

    /// Until all blocks that a load of the stage reaches have read it.
    __device__ __forceinline__ void wait_until_empty() const {
        ptx::mbarrier_wait(shared_ + Plan::weights_empty(ring_.stage), ring_.parity ^ 1);
    }

    const kernels::GemmParams& params_;
    uint32_t shared_;
    uint64_t policy_;
    Ring<kConfig.weight_stages> ring_;
};

}  // namespace nestedfp::gemm
