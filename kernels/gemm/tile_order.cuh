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
        if (params.cut_tiles > 0) {
            const bool has_parts = params.parts > 0;
            position_ = has_parts ? cluster : share_begin(cluster);
            end_ = has_parts ? params.cut_tiles * params.parts : share_begin(cluster + 1);
        }
        whole_ = cluster + (params.cut_last ? 0 : params.cut_tiles);
    }

    /// @returns false when nothing is left.
    __device__ __forceinline__ bool next(Segment& segment) {
        const bool whole_first = params_.cut_last && whole_ < whole_end();
        if (position_ < end_ && !whole_first) {
            next_cut(segment);
            return true;
        }
        segment.tile = whole_;
        segment.k_begin = 0;
        segment.k_end = params_.k_tiles;
        whole_ += clusters_;
        return segment.tile < whole_end();
    }

    /// The last cluster that has a part of tile `tile` cut anywhere, of which this one has the first; those
    /// between have one too.
    __device__ __forceinline__ int32_t last_contributor(int32_t tile) const {
        const int32_t tile_end = (tile + 1) * params_.k_tiles;
        int32_t last = cluster_;
        while (share_begin(last + 1) < tile_end) ++last;
        return last;
    }

    /// Tiles of neighbouring positions share rows or tokens, so that a wave of clusters finds both in the L2.
    __device__ __forceinline__ void coordinates(int32_t tile, int32_t& row_tile, int32_t& token_tile) const {
        const auto [group, inside] = kernels::divide(tile, params_.by_group);
        const int32_t first_token = group * params_.group_tokens;
        const bool is_last = first_token + params_.group_tokens >= params_.token_tiles;
        const auto [row, token] = kernels::divide(inside, is_last ? params_.by_last_width : params_.by_width);
        row_tile = row;
        token_tile = first_token + token;
    }

   private:
    __device__ __forceinline__ void next_cut(Segment& segment) {
        if (params_.parts > 0) {
            const auto [tile, part] = kernels::divide(position_, params_.by_parts);
            segment.tile = (params_.cut_last ? whole_end() : 0) + tile;
            segment.k_begin = part_begin(part);
            segment.k_end = part_begin(part + 1);
            segment.slot = position_;
            position_ += clusters_;
        } else {
            const auto [tile, step] = kernels::divide(position_, params_.by_k_tiles);
            segment.tile = tile;
            segment.k_begin = step;
            const int32_t tile_end = (segment.tile + 1) * params_.k_tiles;
            const int32_t stop = tile_end < end_ ? tile_end : end_;
            segment.k_end = segment.k_begin + stop - position_;
            segment.slot = cluster_;
            position_ = stop;
        }
    }

    __device__ __forceinline__ int32_t part_begin(int32_t part) const {
        return part * params_.part_steps + (part < params_.part_rest ? part : params_.part_rest);
    }

    /// steps * cluster / clusters.
    __device__ __forceinline__ int32_t share_begin(int32_t cluster) const {
        return cluster * params_.share_steps +
               kernels::divide(cluster * params_.share_rest, params_.by_clusters).quotient;
    }

    __device__ __forceinline__ int32_t whole_end() const {
        return params_.row_tiles * params_.token_tiles - (params_.cut_last ? params_.cut_tiles : 0);
    }

    const kernels::GemmParams& params_;
    int32_t cluster_;
    int32_t clusters_;
    /// Of the parts or the steps of the cut tiles.
    int32_t position_ = 0;
    int32_t end_ = 0;
    int32_t whole_;
};

}  // namespace nestedfp::gemm
