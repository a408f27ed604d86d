// What the host hands to a GEMM kernel; plain data, read by g++ and nvcc alike.
#pragma once

#include <cstdint>

#include "divisor.h"

namespace nestedfp::kernels {

/// A CUtensorMap: the driver writes it, the copy engine reads it.
struct alignas(64) TensorMap {
    unsigned char bytes[128];
};

/// Four partial sums of a thread, 24 bits each, and the number of the launch that left them.
struct alignas(16) Quad {
    uint32_t sums[3];
    uint32_t launch;
};

/// What a launch that cuts tiles adds to GemmParams::launches, in so many parts at most: one of each row
/// group of each block, which 1365 SMs would have.
constexpr uint64_t kLaunchUnits = 1 << 12;

/// out[M, N] = X[M, K] W[N, K]^T * row_scale[N] (* token_scale[M]), all row-major, out in binary16. Where
/// GemmConfig::swaps_operands() all but `out` is as if X were the weights and W the activations.
struct alignas(64) GemmParams {
    /// Words [N, K] for plain16, else the upper plane [N, Kpad] in the device's K order
    /// (ops/layout.cuh).
    TensorMap weights;
    /// The lower plane as rows of 128 bytes of its tiles: lower_row(); nested16 alone.
    TensorMap lower;
    /// [M, K] binary16 in natural K order, or where GemmConfig::is_e4m3() E4M3 in the device's K order.
    TensorMap activations;
    /// As weights and activations, with a box of the rows that are left at the end of the matrix.
    TensorMap last_weights;
    TensorMap last_activations;
    TensorMap out;
    // What decides the first segment of a block lies together: the first access to a line of parameters takes
    // hundreds of cycles.

    /// So many tiles are cut along K, the rest go whole.
    int32_t cut_tiles;
    /// The cut tiles are the last of the order, not the first.
    int32_t cut_last;
    /// Tiles of a cluster: BLOCK_ROWS * CLUSTER_ROWS rows of N, BLOCK_TOKENS * CLUSTER_TOKENS of M.
    int32_t row_tiles;
    int32_t token_tiles;
    /// Steps of BLOCK_K along K.
    int32_t k_tiles;
    /// Token tiles that neighbouring clusters share out before the next rows: keeps both operands in L2.
    int32_t group_tokens;
    /// The tiles of a group of `group_tokens`; the token tiles of a group, and of the last one.
    Divisor by_group;
    Divisor by_width;
    Divisor by_last_width;
    int32_t m;
    int32_t n;
    /// The layer's weights are read once: they may leave the L2 first.
    int32_t weights_stream;
    /// Groups of 128 along K that the lower plane has.
    int32_t lower_groups;

    /// Parts that a cut tile has, of `part_steps` steps and the first `part_rest` of one more; 0: all steps
    /// of the cut tiles are shared out to the clusters (stream-K).
    int32_t parts;
    int32_t part_steps;
    int32_t part_rest;
    /// Of the steps of the cut tiles, the quotient by the clusters of the grid and the rest; stream-K alone.
    int32_t share_steps;
    int32_t share_rest;
    Divisor by_clusters;
    /// `parts`, or 1; `k_tiles`.
    Divisor by_parts;
    Divisor by_k_tiles;

    /// [N]: 2^s for words, 2^(s-8) for an upper plane alone.
    const float* row_scale;
    /// [M]; where GemmConfig::is_e4m3() alone.
    const float* token_scale;
    /// Partial sums, slots of BLOCK_ROWS x BLOCK_TOKENS for the blocks of a cluster each. Zero before the
    /// first launch.
    Quad* partials;
    /// Which launch of those that cut tiles this is, times kLaunchUnits. Zero before the first; launches that
    /// share `partials` share it.
    uint64_t* launches;
};

}  // namespace nestedfp::kernels
