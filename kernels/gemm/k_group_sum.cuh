// The sums of the K groups of a block meet in shared memory.
#pragma once

#include "../ptx/grid.cuh"
#include "../ptx/matrix.cuh"
#include "barriers.cuh"
#include "shared_plan.cuh"

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

}  // namespace nestedfp::gemm
