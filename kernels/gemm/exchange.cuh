// What the blocks of a tile that was cut along K have to do with each other's sums.
#pragma once

#include "../interface/configs.h"
#include "tile_order.cuh"

namespace nestedfp::gemm {

/// The part of one block in the sum of a segment's tile. The sums of a few tokens (a chunk, what the epilogue
/// stores at once) are added by one of the blocks, always in the same order, so that a result does not depend
/// on timing.
template <kernels::GemmConfig kConfig>
struct Exchange {
    static constexpr int kChunks = kConfig.block_tokens / kConfig.store_tokens();

    /// Chunks [mine_begin, mine_end) are this block's to finish; it leaves the others in its slot.
    int32_t mine_begin = 0;
    int32_t mine_end = kChunks;
    /// Whether others want what it leaves.
    bool leaves = false;
    /// Slots [first, end) but this block's own hold what it has to add to its chunks.
    int32_t first = 0;
    int32_t end = 0;
    int32_t own = 0;

    Exchange() = default;

    __device__ __forceinline__ Exchange(const kernels::GemmParams& params, const TileOrder& order,
                                        const Segment& segment)
        : own(segment.slot) {
        if (segment.k_end - segment.k_begin == params.k_tiles) return;
        if (params.parts > 0) {
            // All parts end together: each block finishes its share of the chunks.
            const int32_t part = kernels::divide(segment.slot, params.by_parts).rest;
            const int32_t finishers = params.parts < kChunks ? params.parts : kChunks;
            mine_begin = part < finishers ? (part * kChunks + finishers - 1) / finishers : kChunks;
            mine_end = part < finishers ? ((part + 1) * kChunks + finishers - 1) / finishers : kChunks;
            leaves = finishers > 1 || part > 0;
            first = segment.slot - part;
            end = part < finishers ? first + params.parts : first;
        } else if (segment.k_begin > 0) {
            // The block that has the tile's first part comes to it last, and finishes it.
            mine_end = 0;
            leaves = true;
        } else {
            first = segment.slot + 1;
            end = order.last_contributor(segment.tile) + 1;
        }
    }

    __device__ __forceinline__ bool is_mine(int chunk) const {
        return mine_begin <= chunk && chunk < mine_end;
    }
    __device__ __forceinline__ bool has_mine() const { return mine_begin < mine_end; }
};

/// Where a block of a cluster leaves its sums.
template <kernels::GemmConfig kConfig>
struct Slot {
    size_t index;

    __device__ __forceinline__ explicit Slot(int32_t slot)
        : index(static_cast<size_t>(slot) * kConfig.cluster() + blockIdx.x % kConfig.cluster()) {}

    /// Quads of a row group: those of its 128 threads side by side.
    __device__ __forceinline__ kernels::Quad* quads(const kernels::GemmParams& params, int row_group) const {
        return params.partials + (index * kConfig.row_groups + row_group) *
                                     (static_cast<size_t>(kConfig.block_tokens) / 8 * 128);
    }
};

}  // namespace nestedfp::gemm
