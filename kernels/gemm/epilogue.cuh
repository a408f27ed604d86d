// Sums of one warpgroup to binary16 in out[M, N]: scaled, turned through shared memory, stored by the copy
// engine.
#pragma once

#include "../ptx/grid.cuh"
#include "../ptx/matrix.cuh"
#include "../ptx/tma.cuh"
#include "partial_sums.cuh"
#include "shared_plan.cuh"

namespace nestedfp::gemm {

template <kernels::GemmConfig kConfig>
class Epilogue {
    static constexpr int kTokens = kConfig.store_tokens();
    static constexpr int kBuffers = kConfig.store_buffers();
    static constexpr int kBufferBytes = kTokens * 128;

   public:
    __device__ __forceinline__ Epilogue(const kernels::GemmParams& params, uint32_t shared, int row_group)
        : params_(params),
          buffers_(shared + SharedPlan<kConfig>::kStore + row_group * kBuffers * kBufferBytes),
          row_group_(row_group) {}

    /// Stores the chunks of tokens that are this block's own.
    /// @param row, token of the first element of the warpgroup's 64 rows and of the tile.
    template <typename IsMine>
    __device__ __forceinline__ void store(const float (&sums)[kConfig.block_tokens / 2], int32_t row,
                                          int32_t token, IsMine is_mine) {
        const int lane = threadIdx.x % 32;
        const int warp = threadIdx.x / 32 % 4;
        const int32_t my_row = row + warp * 16 + lane / 4;
        const float scale0 = my_row < params_.n ? __ldg(params_.row_scale + my_row) : 0.f;
        const float scale8 = my_row + 8 < params_.n ? __ldg(params_.row_scale + my_row + 8) : 0.f;
        // Row lane % 8 of matrix lane / 8; matrices 0 and 1 are rows 0-7 and 8-15 of 8 tokens, 2 and 3 of the
        // next 8.
        const uint32_t turned =
            (lane / 16 * 8 + lane % 8) * 128 + (((warp * 2 + lane / 8 % 2) ^ (lane % 8)) << 4);

#pragma unroll
        for (int chunk = 0; chunk < kConfig.block_tokens / kTokens; ++chunk) {
            if (!is_mine(chunk) || token + chunk * kTokens >= params_.m) continue;
            const uint32_t buffer = buffers_ + next_buffer_ * kBufferBytes;
            next_buffer_ = (next_buffer_ + 1) % kBuffers;
            if (threadIdx.x % 128 == 0) ptx::tma_store_wait_read<kBuffers - 1>();
            ptx::barrier_sync<128>(Barriers<kConfig>::warpgroup(row_group_));
#pragma unroll
            for (int j = 0; j < kTokens / 8; j += 2) {
                const int first = chunk * kTokens / 8 + j;
                uint32_t low[2], high[2];
#pragma unroll
                for (int next = 0; next < (kTokens == 8 ? 1 : 2); ++next) {
                    const float* d = &sums[4 * (first + next)];
                    const float2 by_token = token_scale(token + 8 * (first + next) + lane % 4 * 2);
                    low[next] = ptx::pack_half2(d[0] * (scale0 * by_token.x), d[1] * (scale0 * by_token.y));
                    high[next] = ptx::pack_half2(d[2] * (scale8 * by_token.x), d[3] * (scale8 * by_token.y));
                }
                if constexpr (kTokens == 8) {
                    ptx::stmatrix_x2_trans(buffer + turned, low[0], high[0]);
                } else {
                    ptx::stmatrix_x4_trans(buffer + j * 8 * 128 + turned, low[0], high[0], low[1], high[1]);
                }
            }
            ptx::fence_proxy_async();
            ptx::barrier_sync<128>(Barriers<kConfig>::warpgroup(row_group_));
            if (threadIdx.x % 128 == 0) {
                ptx::tma_store(&params_.out, row, token + chunk * kTokens, buffer);
                ptx::tma_store_commit();
            }
        }
    }

    /// Shared memory must outlive the stores that read it.
    __device__ __forceinline__ void finish() {
        if (threadIdx.x % 128 == 0) ptx::tma_store_wait_read<0>();
    }

   private:
    __device__ __forceinline__ float2 token_scale(int32_t token) const {
        if constexpr (kConfig.weights != kernels::Weights::kW8A8) return make_float2(1.f, 1.f);
        const float* scale = params_.token_scale;
        return make_float2(token < params_.m ? __ldg(scale + token) : 0.f,
                           token + 1 < params_.m ? __ldg(scale + token + 1) : 0.f);
    }

    const kernels::GemmParams& params_;
    uint32_t buffers_;
    int row_group_;
    int next_buffer_ = 0;
};

}  // namespace nestedfp::gemm
