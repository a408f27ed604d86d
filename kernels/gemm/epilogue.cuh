// Sums of one warpgroup to binary16 in out[M, N]: scaled, brought through shared memory into the order of the
// output, stored by the copy engine.
#pragma once

#include "../ptx/grid.cuh"
#include "../ptx/matrix.cuh"
#include "../ptx/tma.cuh"
#include "barriers.cuh"
#include "exchange.cuh"
#include "shared_plan.cuh"

namespace nestedfp::gemm {

template <kernels::GemmConfig kConfig>
class Epilogue {
    static constexpr int kTokens = kConfig.store_tokens();
    static constexpr int kBuffers = kConfig.store_buffers();
    static constexpr int kBufferBytes = kTokens * 128;
    static constexpr bool kByToken = kConfig.is_e4m3();
    static constexpr bool kSwaps = kConfig.swaps_operands();
    static constexpr int kBatch = kBuffers >= 4 && kConfig.block_tokens > kTokens ? 2 : 1;
    static constexpr bool kInWeights = kConfig.stores_in_weights();
    static constexpr int kScales = (kConfig.block_tokens + 127) / 128;

   public:
    __device__ __forceinline__ Epilogue(const kernels::GemmParams& params, uint32_t shared, int row_group)
        : params_(params),
          buffers_(kInWeights ? shared + SharedPlan<kConfig>::plane(0, 0) + row_group * 64 * 128
                              : shared + SharedPlan<kConfig>::kStore + row_group * kBuffers * kBufferBytes),
          row_group_(row_group),
          scales_(shared + SharedPlan<kConfig>::kScales + row_group * kConfig.block_tokens * 4) {}

    /// Loads the scales of a tile early, so that no epilogue waits for memory.
    /// @param row, token of the first element of the warpgroup's 64 rows and of the tile.
    __device__ __forceinline__ void prefetch(int32_t row, int32_t token) {
        if (threadIdx.x % 128 == 0) ptx::prefetch_tensor_map(&params_.out);
        const int32_t my_row = row + threadIdx.x / 32 % 4 * 16 + threadIdx.x % 32 / 4;
        scale0_ = my_row < params_.n ? __ldg(params_.row_scale + my_row) : 0.f;
        scale8_ = my_row + 8 < params_.n ? __ldg(params_.row_scale + my_row + 8) : 0.f;
        if constexpr (kByToken) {
#pragma unroll
            for (int i = 0; i < kScales; ++i) {
                const int32_t mine = threadIdx.x % 128 + 128 * i;
                token_scale_[i] = mine < kConfig.block_tokens && token + mine < params_.m
                                      ? __ldg(params_.token_scale + token + mine)
                                      : 0.f;
            }
        }
    }

    /// Stores the chunks of tokens that are this block's own.
    /// @param weight_stage that this row group has read for the last time, where its stores may lie.
    __device__ __forceinline__ void store(const float (&sums)[kConfig.block_tokens / 2], int32_t row,
                                          int32_t token, const Exchange<kConfig>& exchange,
                                          uint32_t weight_stage) {
        const int lane = threadIdx.x % 32;
        const int warp = threadIdx.x / 32 % 4;
        // Row lane % 8 of matrix lane / 8; matrices 0 and 1 are rows 0-7 and 8-15 of 8 tokens, 2 and 3 of the
        // next 8.
        const uint32_t place =
            kSwaps ? (warp * 16 + lane / 8 % 2 * 8 + lane % 8) * (2 * kTokens) + lane / 16 * 16
                   : (lane / 16 * 8 + lane % 8) * 128 + (((warp * 2 + lane / 8 % 2) ^ (lane % 8)) << 4);
        if constexpr (kByToken) {
#pragma unroll
            for (int i = 0; i < kScales; ++i) {
                const int32_t mine = threadIdx.x % 128 + 128 * i;
                if (mine < kConfig.block_tokens) ptx::store_shared_float(scales_ + 4 * mine, token_scale_[i]);
            }
            ptx::barrier_sync<128>(Barriers<kConfig>::warpgroup(row_group_));
        }

        const uint32_t buffers =
            buffers_ + (kInWeights ? weight_stage * SharedPlan<kConfig>::kWeightStageBytes : 0);
        // A warp writes where the others have read weights.
        if constexpr (kInWeights) ptx::barrier_sync<128>(Barriers<kConfig>::warpgroup(row_group_));

        constexpr int kChunks = kConfig.block_tokens / kTokens;
        const auto is_stored = [&](int chunk) {
            return chunk < kChunks && exchange.is_mine(chunk) && token + chunk * kTokens < params_.m;
        };
#pragma unroll
        for (int batch = 0; batch < kChunks; batch += kBatch) {
            uint32_t buffer[kBatch];
            bool any = false;
#pragma unroll
            for (int i = 0; i < kBatch; ++i) {
                if (!is_stored(batch + i)) continue;
                any = true;
                buffer[i] = buffers + offset_of_buffer(next_buffer_);
                next_buffer_ = next_buffer_ + 1 == kBuffers ? 0 : next_buffer_ + 1;
                fill(sums, batch + i, buffer[i] + place);
            }
            if (!any) continue;
            ptx::fence_proxy_async();
            // The next batch's buffers are free once all stores before the last kBuffers / kBatch - 1 batches
            // have been read; the present batch counts as one of them.
            if (threadIdx.x % 128 == 0) ptx::tma_store_wait_read<kBuffers / kBatch - 2>();
            ptx::barrier_sync<128>(Barriers<kConfig>::warpgroup(row_group_));
            if (threadIdx.x % 128 == 0) {
#pragma unroll
                for (int i = 0; i < kBatch; ++i) {
                    if (is_stored(batch + i)) {
                        const int32_t first = token + (batch + i) * kTokens;
                        ptx::tma_store(&params_.out, kSwaps ? first : row, kSwaps ? row : first, buffer[i]);
                    }
                }
                ptx::tma_store_commit();
            }
        }
    }

    /// Until all that was stored has left shared memory; for the whole warpgroup.
    __device__ __forceinline__ void wait_until_read() const {
        finish();
        ptx::barrier_sync<128>(Barriers<kConfig>::warpgroup(row_group_));
    }

    /// Shared memory must outlive the stores that read it.
    __device__ __forceinline__ void finish() const {
        if (threadIdx.x % 128 == 0) ptx::tma_store_wait_read<0>();
    }

   private:
    /// In a stage of weights, a row group has half of its buffers in each plane.
    __device__ __forceinline__ static uint32_t offset_of_buffer(int buffer) {
        if constexpr (!kInWeights) return buffer * kBufferBytes;
        constexpr int kOfPlane = kBuffers / 2;
        return buffer / kOfPlane * SharedPlan<kConfig>::kPlaneBytes + buffer % kOfPlane * kBufferBytes;
    }
    static_assert(!kInWeights || kBuffers / 2 * kBufferBytes <= 64 * 128,
                  "half of the buffers fit in a row group's share of a plane");

    /// Scales one chunk of tokens and writes it as rows of the output: of 64 values, one row for each token;
    /// where the operands are swapped, 64 rows of as many values as the chunk has.
    __device__ __forceinline__ void fill(const float (&sums)[kConfig.block_tokens / 2], int chunk,
                                         uint32_t to) {
        float2 by_token[kTokens / 8];
#pragma unroll
        for (int j = 0; j < kTokens / 8; ++j) {
            by_token[j] = token_scale(chunk * kTokens + 8 * j + threadIdx.x % 4 * 2);
        }
#pragma unroll
        for (int j = 0; j < kTokens / 8; j += 2) {
            constexpr int kLast = kTokens / 8 - 1;
            const int count = j < kLast ? 2 : 1;
            uint32_t low[2], high[2];
#pragma unroll
            for (int next = 0; next < count; ++next) {
                const float* d = &sums[4 * (chunk * kTokens / 8 + j + next)];
                const float2 scale = by_token[j + next];
                low[next] = ptx::pack_half2(d[0] * (scale0_ * scale.x), d[1] * (scale0_ * scale.y));
                high[next] = ptx::pack_half2(d[2] * (scale8_ * scale.x), d[3] * (scale8_ * scale.y));
            }
            const uint32_t place = to + j * (kSwaps ? 16 : 8 * 128);
            if (count == 2) {
                ptx::stmatrix_x4<!kSwaps>(place, low[0], high[0], low[1], high[1]);
            } else {
                ptx::stmatrix_x2<!kSwaps>(place, low[0], high[0]);
            }
        }
    }

    __device__ __forceinline__ float2 token_scale(int32_t token) const {
        if constexpr (!kByToken) return make_float2(1.f, 1.f);
        return ptx::load_shared_float2(scales_ + 4 * token);
    }

    const kernels::GemmParams& params_;
    uint32_t buffers_;
    int row_group_;
    int next_buffer_ = 0;
    uint32_t scales_;
    float scale0_;
    float scale8_;
    float token_scale_[kScales];
};

}  // namespace nestedfp::gemm
