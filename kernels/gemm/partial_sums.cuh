// Sums that meet: of the K groups of a block through shared memory, of the blocks of a streamed tile through
// the L2.
#pragma once

#include "../ptx/grid.cuh"
#include "../ptx/matrix.cuh"
#include "barriers.cuh"
#include "shared_plan.cuh"
#include "tile_order.cuh"

namespace nestedfp::gemm {

/// Adds the sums of all K groups of a row group into those of group 0, in order.
template <kernels::GemmConfig kConfig>
class KGroupSum {
    static constexpr int kRegisters = kConfig.block_tokens / 2;
    static constexpr int kThreads = 128 * kConfig.k_groups;
    static constexpr int kGroupBytes = kConfig.block_rows() * kConfig.block_tokens * 4;

   public:
    __device__ __forceinline__ KGroupSum(uint32_t shared, int row_group, int k_group)
        : barrier_(Barriers<kConfig>::k_groups(row_group)), k_group_(k_group) {
        buffer_ = shared + SharedPlan<kConfig>::kReduce + row_group * 64 * kConfig.block_tokens * 4 +
                  threadIdx.x % 128 * 16;
    }

    __device__ __forceinline__ void add(float (&sums)[kRegisters]) {
        if constexpr (kConfig.k_groups > 1) {
            if (k_group_ > 0) {
                const uint32_t to = buffer_ + (k_group_ - 1) * kGroupBytes;
#pragma unroll
                for (int i = 0; i < kRegisters; i += 4) {
                    ptx::store_shared_16(to + i * 512, sums[i], sums[i + 1], sums[i + 2], sums[i + 3]);
                }
            }
            ptx::barrier_sync<kThreads>(barrier_);
            if (k_group_ == 0) collect(sums);
            // The buffer is free again.
            ptx::barrier_sync<kThreads>(barrier_);
        }
    }

   private:
    __device__ __forceinline__ void collect(float (&sums)[kRegisters]) {
#pragma unroll
        for (int q = 1; q < kConfig.k_groups; ++q) {
#pragma unroll
            for (int i = 0; i < kRegisters; i += 4) {
                const float4 v = ptx::load_shared_float4(buffer_ + (q - 1) * kGroupBytes + i * 512);
                sums[i] += v.x;
                sums[i + 1] += v.y;
                sums[i + 2] += v.z;
                sums[i + 3] += v.w;
            }
        }
    }

    uint32_t buffer_;
    int barrier_;
    int k_group_;
};

/// The blocks of a tile that was cut along K. The sums of a few tokens (a chunk, what the epilogue stores at
/// once) are added by one of the blocks, always in the same order, so that a result does not depend on
/// timing.
template <kernels::GemmConfig kConfig>
class BlockSum {
    static constexpr int kRegisters = kConfig.block_tokens / 2;
    static constexpr int kChunkQuads = kConfig.store_tokens() / 8;

   public:
    static constexpr int kChunks = kConfig.block_tokens / kConfig.store_tokens();

    __device__ __forceinline__ BlockSum(const kernels::GemmParams& params, int row_group)
        : params_(params), row_group_(row_group) {}

    /// Leaves the chunks that are not this block's own in `slot` for `readers` other blocks.
    template <typename IsMine>
    __device__ __forceinline__ void leave(const float (&sums)[kRegisters], int32_t slot, uint32_t readers,
                                          IsMine is_mine) {
        float4* to = partials(slot);
#pragma unroll
        for (int chunk = 0; chunk < kChunks; ++chunk) {
            if (is_mine(chunk)) continue;
#pragma unroll
            for (int i = 0; i < kChunkQuads; ++i) {
                const float* sum = &sums[4 * (chunk * kChunkQuads + i)];
                __stcg(to + (chunk * kChunkQuads + i) * 128, make_float4(sum[0], sum[1], sum[2], sum[3]));
            }
        }
        ptx::barrier_sync<128>(Barriers<kConfig>::warpgroup(row_group_));
        if (threadIdx.x % 128 == 0) {
            ptx::store_release(ready(slot), readers);
        }
    }

    /// Adds what another block left in `slot` of this block's own chunks.
    template <typename IsMine>
    __device__ __forceinline__ void collect(float (&sums)[kRegisters], int32_t slot, IsMine is_mine) {
        if (threadIdx.x % 128 == 0) {
            while (ptx::load_acquire(ready(slot)) == 0) {
            }
            atomicSub(ready(slot), 1);
        }
        ptx::barrier_sync<128>(Barriers<kConfig>::warpgroup(row_group_));
        const float4* from = partials(slot);
#pragma unroll
        for (int first = 0; first < kChunks; first += kTogether) {
            // The loads of several chunks are under way at once: each wait is a trip to the L2.
            float4 quads[kTogether][kChunkQuads];
#pragma unroll
            for (int c = 0; c + 1 < kTogether; ++c) {
                if (is_mine(first + c)) load(quads[c], from, first + c);
            }
#pragma unroll
            for (int c = 0; c < kTogether; ++c) {
                if (!is_mine(first + c)) continue;
                if (c + 1 == kTogether) load(quads[c], from, first + c);
                add(sums, quads[c], first + c);
            }
        }
    }

   private:
    // As far as there are registers.
    static constexpr int kTogether =
        kConfig.warpgroups() > 2 || kConfig.block_tokens > 128 || kChunks < 4 ? 1 : 4;

    using Chunk = float4[kChunkQuads];

    __device__ __forceinline__ static void load(Chunk& quads, const float4* from, int chunk) {
#pragma unroll
        for (int i = 0; i < kChunkQuads; ++i) quads[i] = __ldcg(from + (chunk * kChunkQuads + i) * 128);
    }

    __device__ __forceinline__ static void add(float (&sums)[kRegisters], const Chunk& quads, int chunk) {
#pragma unroll
        for (int i = 0; i < kChunkQuads; ++i) {
            float* sum = &sums[4 * (chunk * kChunkQuads + i)];
            sum[0] += quads[i].x;
            sum[1] += quads[i].y;
            sum[2] += quads[i].z;
            sum[3] += quads[i].w;
        }
    }

    /// The blocks of a cluster and the row groups of a block have slots of their own.
    __device__ __forceinline__ size_t index(int32_t slot) const {
        const uint32_t rank = blockIdx.x % kConfig.cluster();
        return (static_cast<size_t>(slot) * kConfig.cluster() + rank) * kConfig.row_groups + row_group_;
    }
    __device__ __forceinline__ float4* partials(int32_t slot) const {
        return reinterpret_cast<float4*>(params_.partials + index(slot) * 64 * kConfig.block_tokens) +
               threadIdx.x % 128;
    }
    __device__ __forceinline__ uint32_t* ready(int32_t slot) const { return params_.ready + index(slot); }

    const kernels::GemmParams& params_;
    int row_group_;
};

}  // namespace nestedfp::gemm
