// Which part of which tile a cluster works on next: the tiles that are cut along K come before the whole
// ones, or after them.
#pragma once

#include <cstdint>

#include "../interface/params.h"

namespace nestedfp::gemm {

/// Steps [k_begin, k_end) along K of one tile.
struct Segment {
    int32_t tile;
    int32_t k_begin;
    int32_t k_end;
    /// Where partial sums of this segment lie, counted in clusters.
    int32_t slot;
};

class TileOrder {
   public:
    __device__ __forceinline__ TileOrder(const kernels::GemmParams& params, int32_t cluster, int32_t clusters)
        : params_(params), cluster_(cluster), clusters_(clusters) {
        if (params.parts > 0) {
            position_ = cluster;
            end_ = params.cut_tiles * params.parts;
        } else {
            const int32_t steps = params.cut_tiles * params.k_tiles;
            position_ = share_begin(steps, cluster);
            end_ = share_begin(steps, cluster + 1);
        }
        const int32_t tiles = params.row_tiles * params.token_tiles;
        first_cut_ = params.cut_last ? tiles - params.cut_tiles : 0;
        whole_ = cluster + (params.cut_last ? 0 : params.cut_tiles);
        whole_end_ = params.cut_last ? first_cut_ : tiles;
    }

    /// @returns false when nothing is left.
    __device__ __forceinline__ bool next(Segment& segment) {
        const bool whole_first = params_.cut_last && whole_ < whole_end_;
        if (position_ < end_ && !whole_first) {
            next_cut(segment);
            return true;
        }
        segment.tile = whole_;
        segment.k_begin = 0;
        segment.k_end = params_.k_tiles;
        whole_ += clusters_;
        return segment.tile < whole_end_;
    }

    /// The last cluster that has a part of tile `tile` cut anywhere; clusters between the first and it all
    /// have one.
    __device__ __forceinline__ int32_t last_contributor(int32_t tile) const {
        const int32_t steps = params_.cut_tiles * params_.k_tiles;
        const int32_t last_step = (tile + 1) * params_.k_tiles - 1;
        // The largest g with share_begin(g) <= last_step.
        return static_cast<int32_t>(((static_cast<int64_t>(last_step) + 1) * clusters_ - 1) / steps);
    }

    /// Tiles of neighbouring positions share rows or tokens, so that a wave of clusters finds both in the L2.
    __device__ __forceinline__ void coordinates(int32_t tile, int32_t& row_tile, int32_t& token_tile) const {
        const int32_t group = tile / (params_.group_tokens * params_.row_tiles);
        const int32_t first_token = group * params_.group_tokens;
        const int32_t left = params_.token_tiles - first_token;
        const int32_t width = left < params_.group_tokens ? left : params_.group_tokens;
        const int32_t inside = tile - first_token * params_.row_tiles;
        row_tile = inside / width;
        token_tile = first_token + inside - row_tile * width;
    }

   private:
    __device__ __forceinline__ void next_cut(Segment& segment) {
        if (params_.parts > 0) {
            const int32_t tile = position_ / params_.parts;
            const int32_t part = position_ - tile * params_.parts;
            segment.tile = first_cut_ + tile;
            segment.k_begin = part * params_.k_tiles / params_.parts;
            segment.k_end = (part + 1) * params_.k_tiles / params_.parts;
            segment.slot = position_;
            position_ += clusters_;
        } else {
            segment.tile = position_ / params_.k_tiles;
            segment.k_begin = position_ - segment.tile * params_.k_tiles;
            const int32_t tile_end = (segment.tile + 1) * params_.k_tiles;
            const int32_t stop = tile_end < end_ ? tile_end : end_;
            segment.k_end = segment.k_begin + stop - position_;
            segment.slot = cluster_;
            position_ = stop;
        }
    }

    __device__ __forceinline__ int32_t share_begin(int32_t steps, int32_t cluster) const {
        return static_cast<int32_t>(static_cast<int64_t>(steps) * cluster / clusters_);
    }

    const kernels::GemmParams& params_;
    int32_t cluster_;
    int32_t clusters_;
    int32_t position_;
    int32_t end_;
    int32_t whole_;
    int32_t whole_end_;
    int32_t first_cut_;
};

}  // namespace nestedfp::gemm
