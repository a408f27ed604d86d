// The sums of the blocks of a cut tile meet in the L2.
#pragma once

#include "../ptx/grid.cuh"
#include "../ptx/matrix.cuh"
#include "barriers.cuh"
#include "exchange.cuh"
#include "shared_plan.cuh"

namespace nestedfp::gemm {

/// The blocks of a tile that was cut along K: one leaves its sums in the L2, another adds them to its own.
/// Four sums of a thread travel together with the number of the launch, in 16 bytes that come whole, and the
/// same thread of the other block looks until they have that number: no flag is set after all sums have
/// arrived, none is waited for before they are read, each thousands of cycles. For the number, sums leave the
/// last 8 of their 32 bits behind: less than 2^-15 of a sum, where binary16 rounds off 2^-11 in the end.
template <kernels::GemmConfig kConfig>
class BlockSum {
    static constexpr int kRegisters = kConfig.block_tokens / 2;
    static constexpr int kQuads = kConfig.block_tokens / 8;
    static constexpr int kChunkQuads = kConfig.store_tokens() / 8;
    static constexpr int kChunks = Exchange<kConfig>::kChunks;

   public:
    __device__ __forceinline__ BlockSum(const kernels::GemmParams& params, uint32_t shared, int row_group)
        : params_(params),
          launch_at_(shared + SharedPlan<kConfig>::launch(threadIdx.x / 32)),
          row_group_(row_group) {}

    /// Once the grid before has ended.
    __device__ __forceinline__ void begin() const {
        if (params_.cut_tiles == 0) return;
        // Odd, so never the zero that memory was filled with, and the same again after 2^31 launches that cut
        // tiles. No register is free for it between multiplications.
        if (threadIdx.x % 32 == 0) {
            const uint64_t launch = ptx::load_relaxed(params_.launches) / kernels::kLaunchUnits;
            ptx::store_shared(launch_at_, static_cast<uint32_t>(launch) * 2 + 1);
        }
        __syncwarp();
    }

    /// Leaves the chunks that are not this block's own.
    __device__ __forceinline__ void leave(const float (&sums)[kRegisters],
                                          const Exchange<kConfig>& exchange) const {
        const uint32_t launch = ptx::load_shared(launch_at_);
        kernels::Quad* to = Slot<kConfig>(exchange.own).quads(params_, row_group_) + threadIdx.x % 128;
#pragma unroll
        for (int quad = 0; quad < kQuads; ++quad) {
            if (exchange.is_mine(quad / kChunkQuads)) continue;
            const float* sum = &sums[4 * quad];
            // The upper three bytes of each; the last sum's lie in the places that the others leave.
            ptx::store_relaxed_16(to + quad * 128,
                                  make_uint4(ptx::permute_sums<0x3215>(sum[0], sum[3]),
                                             ptx::permute_sums<0x3216>(sum[1], sum[3]),
                                             ptx::permute_sums<0x3217>(sum[2], sum[3]), launch));
        }
    }

    /// Adds what the other blocks left of this block's own chunks, as it comes.
    __device__ __forceinline__ void collect(float (&sums)[kRegisters],
                                            const Exchange<kConfig>& exchange) const {
        if (exchange.first == exchange.end) return;
        const uint32_t launch = ptx::load_shared(launch_at_);
        for (int32_t slot = exchange.first; slot < exchange.end; ++slot) {
            if (slot == exchange.own) continue;
            const kernels::Quad* from = Slot<kConfig>(slot).quads(params_, row_group_) + threadIdx.x % 128;
#pragma unroll
            for (int chunk = 0; chunk < kChunks; chunk += 2) {
                const bool has_first = exchange.is_mine(chunk);
                const bool has_second = chunk + 1 < kChunks && exchange.is_mine(chunk + 1);
                if (has_first && has_second) {
                    add<2>(sums, chunk, from, launch);
                } else if (has_first) {
                    add<1>(sums, chunk, from, launch);
                } else if (has_second) {
                    add<1>(sums, chunk + 1, from, launch);
                }
            }
        }
    }

    /// When the warpgroup has done all of its work. No thread of it reads the number any more, and the next
    /// launch reads it when this one has ended: until the last part is added, it stays as it is.
    __device__ __forceinline__ void finish() const {
        if (params_.cut_tiles == 0) return;
        ptx::barrier_sync<128>(Barriers<kConfig>::warpgroup(row_group_));
        if (threadIdx.x % 128 != 0) return;
        const bool is_first = blockIdx.x == 0 && row_group_ == 0;
        ptx::add_relaxed(params_.launches,
                         is_first ? kernels::kLaunchUnits + 1 - gridDim.x * kConfig.row_groups : 1);
    }

   private:
    /// Two chunks at once where that can be: their loads wait for the L2 together.
    template <int kCount>
    __device__ __forceinline__ void add(float (&sums)[kRegisters], int chunk, const kernels::Quad* from,
                                        uint32_t launch) const {
        constexpr int kLoads = kCount * kChunkQuads;
        uint4 words[kLoads];
        bool has_come;
        do {
            has_come = true;
#pragma unroll
            for (int i = 0; i < kLoads; ++i) {
                words[i] = ptx::load_relaxed_16(from + (chunk * kChunkQuads + i) * 128);
            }
#pragma unroll
            for (int i = 0; i < kLoads; ++i) has_come = has_come && words[i].w == launch;
        } while (!__all_sync(0xffffffff, has_come));
#pragma unroll
        for (int i = 0; i < kLoads; ++i) {
            float* sum = &sums[4 * (chunk * kChunkQuads + i)];
            sum[0] += __uint_as_float(words[i].x & 0xffffff00u);
            sum[1] += __uint_as_float(words[i].y & 0xffffff00u);
            sum[2] += __uint_as_float(words[i].z & 0xffffff00u);
            const uint32_t last = ptx::permute_bytes<0x0400>(words[i].x, words[i].y) & 0x00ffff00u;
            sum[3] += __uint_as_float(ptx::permute_bytes<0x4210>(last, words[i].z));
        }
    }

    const kernels::GemmParams& params_;
    uint32_t launch_at_;
    int row_group_;
};

}  // namespace nestedfp::gemm
