// Where a block stands in its cluster, and which blocks share its operands.
#pragma once

#include <cstdint>

#include "../interface/configs.h"

namespace nestedfp::gemm {

/// Blocks of a cluster are counted along N first: rank = rows() + CLUSTER_ROWS * tokens().
template <kernels::GemmConfig kConfig>
struct ClusterRank {
    static __device__ __forceinline__ uint32_t rows() { return blockIdx.x % kConfig.cluster_rows; }
    static __device__ __forceinline__ uint32_t tokens() {
        return blockIdx.x / kConfig.cluster_rows % kConfig.cluster_tokens;
    }
};

/// Blocks that share an operand: kCount of them, every kStride-th from `first`.
template <int kCountOfBlocks, int kStrideOfBlocks>
struct Sharers {
    static constexpr int kCount = kCountOfBlocks;
    static constexpr int kStride = kStrideOfBlocks;
    uint32_t first;

    /// One bit per block.
    __device__ __forceinline__ uint16_t mask() const {
        constexpr uint32_t kMask = [] {
            uint32_t mask = 0;
            for (int i = 0; i < kCount; ++i) mask |= 1u << i * kStride;
            return mask;
        }();
        return static_cast<uint16_t>(kMask << first);
    }
};

template <kernels::GemmConfig kConfig>
__device__ __forceinline__ auto sharers_of_tokens() {
    return Sharers<kConfig.cluster_rows, 1>{ClusterRank<kConfig>::tokens() * kConfig.cluster_rows};
}

template <kernels::GemmConfig kConfig>
__device__ __forceinline__ auto sharers_of_weights() {
    return Sharers<kConfig.cluster_tokens, kConfig.cluster_rows>{ClusterRank<kConfig>::rows()};
}

}  // namespace nestedfp::gemm
