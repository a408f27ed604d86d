// What a warpgroup multiplies, and where it lies in the output.
#pragma once

#include "cluster_rank.cuh"
#include "tile_order.cuh"

namespace nestedfp::gemm {

/// What a warpgroup multiplies next. Found out while it multiplies, but for the first: the way there takes
/// hundreds of cycles.
template <kernels::GemmConfig kConfig>
struct Work {
    Segment segment;
    int32_t row_tile;
    int32_t token_tile;

    /// @returns false when nothing is left.
    __device__ __forceinline__ bool next(TileOrder& order) {
        if (!order.next(segment)) return false;
        order.coordinates(segment.tile, row_tile, token_tile);
        return true;
    }

    /// The first of the 64 rows of a row group, and of the tokens of the block.
    __device__ __forceinline__ int32_t row(int row_group) const {
        const int32_t rank = static_cast<int32_t>(ClusterRank<kConfig>::rows());
        return ((row_tile * kConfig.cluster_rows + rank) * kConfig.row_groups + row_group) * 64;
    }
    __device__ __forceinline__ int32_t token() const {
        const int32_t rank = static_cast<int32_t>(ClusterRank<kConfig>::tokens());
        return (token_tile * kConfig.cluster_tokens + rank) * kConfig.block_tokens;
    }
};

}  // namespace nestedfp::gemm
