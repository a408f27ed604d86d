// The one table of GEMM instances, read by the kernels that they name and by the host that chooses among
// them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>

namespace nestedfp::kernels {

/// How the weights lie in memory and reach the tensor cores.
enum class Weights : int32_t {
    /// Binary16 words from shared memory: the ceiling of the nested kernel and its bitwise oracle.
    kPlain16,
    /// Both planes, rebuilt in registers.
    kNested16,
    /// The upper plane, widened to binary16 in registers; activations binary16.
    kW8A16,
    /// The upper plane as it is; activations E4M3.
    kW8A8,
    /// As kW8A8, with sums in FP32 registers: those of the tensor cores, which keep some 14 bits of E4M3
    /// products, are added to them after each 128 along K.
    kW8A8F32,
    /// As kW8A8 with the operands' places exchanged: tokens are the rows of a tile, in 64s, and weight rows
    /// its columns, in eights, so that there are tiles that fit the layer and the SMs. Where a kernel, its
    /// parameters or this file speak of rows, weights and N, they mean X and M; of tokens and M, W and N.
    kA8W8,
};

struct GemmConfig {
    const char* name;
    Weights weights;
    /// Warpgroups along N, 64 weight rows each.
    int32_t row_groups;
    /// Warpgroups along K: each takes its own part of a step and the sums are added at the end of a tile.
    int32_t k_groups;
    int32_t block_tokens;
    /// Stages of tokens, a chunk for each K group, and of weights, that shared memory holds.
    int32_t stages;
    int32_t weight_stages;
    /// Blocks of a cluster along N, which share a token tile by multicast, and along M, which share weights.
    int32_t cluster_rows;
    int32_t cluster_tokens;

    constexpr int32_t cluster() const { return cluster_rows * cluster_tokens; }
    constexpr int32_t block_rows() const { return 64 * row_groups; }
    /// The weights pass through registers.
    constexpr bool rebuilds() const { return weights == Weights::kNested16 || weights == Weights::kW8A16; }
    constexpr bool swaps_operands() const { return weights == Weights::kA8W8; }
    constexpr bool promotes() const { return weights == Weights::kW8A8F32; }
    constexpr bool is_e4m3() const { return weights == Weights::kW8A8 || promotes() || swaps_operands(); }
    /// Elements along K that 128 bytes of activations hold: what one warpgroup takes at a time.
    constexpr int32_t chunk_k() const { return is_e4m3() ? 128 : 64; }
    /// Elements along K of a row of 128 bytes of weights.
    constexpr int32_t weight_chunk_k() const { return weights == Weights::kPlain16 ? 64 : 128; }
    /// Elements along K of a step, 128 at least: two warpgroups may share a row of nested weights, and
    /// kernels of all kinds of weights cut tiles at the same places.
    constexpr int32_t block_k() const { return chunk_k() * k_groups < 128 ? 128 : chunk_k() * k_groups; }
    constexpr int32_t token_stages_per_step() const { return block_k() / (chunk_k() * k_groups); }
    /// Rows of 128 bytes side by side in a stage of weights.
    constexpr int32_t weight_chunks() const { return rebuilds() ? block_k() / 128 : k_groups; }
    constexpr int32_t weight_stages_per_step() const {
        return block_k() / (weight_chunks() * weight_chunk_k());
    }
    constexpr int32_t warpgroups() const { return row_groups * k_groups; }
    /// The consumers and a warpgroup of which two warps load.
    constexpr int32_t threads() const { return 128 * (warpgroups() + 1); }
    /// Registers per thread at launch, and after the loader has handed most of its own over; multiples of 8.
    /// What the consumers take must not exceed what the loader gives: setmaxnreg would wait for ever.
    constexpr int32_t launch_registers() const { return 65536 / threads() / 8 * 8; }
    constexpr int32_t loader_registers() const { return warpgroups() > 3 && rebuilds() ? 32 : 40; }
    constexpr int32_t consumer_registers() const {
        return (launch_registers() * (warpgroups() + 1) - loader_registers()) / warpgroups() / 8 * 8;
    }

    /// Loaders wait for what they load first before they load what comes next. At the start all blocks load
    /// at once, more than the memory and the L2 give soon, and each multiplies when its first stages have
    /// come. (Measured: 1.005 times as fast, over 30 points of 128 to 1024 tokens.) Narrower tiles wait for
    /// the memory all the time.
    constexpr bool awaits_first_stage() const { return block_tokens >= 128 && !swaps_operands(); }

    constexpr int32_t planes() const { return weights == Weights::kNested16 ? 2 : 1; }
    /// Every copy moves rows of 128 bytes: shorter ones halve what the copy engine and the memory deliver.
    constexpr int32_t plane_chunk_bytes() const { return block_rows() * 128; }
    constexpr int32_t token_chunk_bytes() const { return block_tokens * 128; }
    constexpr int32_t stage_bytes() const { return k_groups * token_chunk_bytes(); }
    constexpr int32_t weight_stage_bytes() const { return weight_chunks() * planes() * plane_chunk_bytes(); }
    /// What a block may have of the 228 KiB of an SM of sm_90.
    static constexpr int32_t max_shared_bytes() { return 232448; }
    /// The epilogue has no buffers of its own: each row group holds its share of a tile's last stage of
    /// weights until what it stores from there has been read. Leaves room for a stage more.
    constexpr bool stores_in_weights() const {
        return weights == Weights::kNested16 &&
               shared_bytes_without_stores() + 2 * row_groups * store_tokens() * 128 > max_shared_bytes();
    }
    /// Tokens of one store of the epilogue, and how many stores may be under way: what room is left.
    constexpr int32_t store_tokens() const {
        if (swaps_operands()) {
            // As wide as there is room for two: the copy engine takes a row in some five cycles, however
            // short.
            for (const int32_t width : {96, 80, 48, 40}) {
                const int32_t two = 2 * row_groups * width * 128;
                if (block_tokens % width == 0 && two <= max_shared_bytes() - shared_bytes_without_stores())
                    return width;
            }
        }
        return block_tokens % 32 == 0 ? 32 : block_tokens % 16 == 0 ? 16 : 8;
    }
    constexpr int32_t store_buffers() const {
        const int32_t room = max_shared_bytes() - shared_bytes_without_stores();
        const int32_t fit = room / (row_groups * store_tokens() * 128);
        return stores_in_weights() ? 128 / store_tokens() : fit >= 6 ? 6 : fit >= 4 ? 4 : fit;
    }
    constexpr int32_t store_bytes() const {
        return stores_in_weights() ? 0 : row_groups * store_buffers() * store_tokens() * 128;
    }
    constexpr int32_t reduce_bytes() const { return (k_groups - 1) * block_rows() * block_tokens * 4; }
    /// Scales of the tokens of a tile, for each row group.
    constexpr int32_t scale_bytes() const { return is_e4m3() ? row_groups * block_tokens * 4 : 0; }
    constexpr int32_t shared_bytes_without_stores() const {
        return 1024 + stages * stage_bytes() + weight_stages * weight_stage_bytes() + reduce_bytes() +
               scale_bytes() + 16 * (stages + weight_stages) + 16 * row_groups;
    }
    /// Dynamic shared memory, with room to align its start to 1024 bytes.
    constexpr int32_t shared_bytes() const { return shared_bytes_without_stores() + store_bytes(); }
    /// Partial sums of a block, in quads: GemmParams::partials.
    constexpr int32_t partial_bytes() const { return block_rows() * block_tokens * 4; }
};

// Name, weights, row groups, K groups, tokens, stages, weight stages, blocks of a cluster along N and M. Each
// is a cubin and an entry point. Every nested16 has a plain16 of the same shape, which adds in the same
// order: its oracle. In a name, c2 is a cluster of two that shares tokens, t2 one that shares weights.
#define NESTEDFP_GEMM_CONFIGS(X)                                   \
    X(nested16_128x256_s4w3_c1, kNested16, 2, 1, 256, 4, 3, 1, 1)  \
    X(nested16_128x256_s4w2_c1, kNested16, 2, 1, 256, 4, 2, 1, 1)  \
    X(plain16_128x256_s4w4_c1, kPlain16, 2, 1, 256, 4, 4, 1, 1)    \
    X(nested16_128x256_s4w3_c2, kNested16, 2, 1, 256, 4, 3, 2, 1)  \
    X(nested16_128x256_s4w2_c2, kNested16, 2, 1, 256, 4, 2, 2, 1)  \
    X(plain16_128x256_s4w4_c2, kPlain16, 2, 1, 256, 4, 4, 2, 1)    \
    X(nested16_128x256_s4w3_t2, kNested16, 2, 1, 256, 4, 3, 1, 2)  \
    X(nested16_128x256_s4w2_t2, kNested16, 2, 1, 256, 4, 2, 1, 2)  \
    X(plain16_128x256_s4w4_t2, kPlain16, 2, 1, 256, 4, 4, 1, 2)    \
    X(nested16_64x256_s5w3_c2, kNested16, 1, 1, 256, 5, 3, 2, 1)   \
    X(plain16_64x256_s5w4_c2, kPlain16, 1, 1, 256, 5, 4, 2, 1)     \
    X(nested16_128x208_s4w3_c1, kNested16, 2, 1, 208, 4, 3, 1, 1)  \
    X(plain16_128x208_s5w5_c1, kPlain16, 2, 1, 208, 5, 5, 1, 1)    \
    X(nested16_128x208_s4w3_c2, kNested16, 2, 1, 208, 4, 3, 2, 1)  \
    X(plain16_128x208_s5w5_c2, kPlain16, 2, 1, 208, 5, 5, 2, 1)    \
    X(nested16_128x192_s4w3_c2, kNested16, 2, 1, 192, 4, 3, 2, 1)  \
    X(plain16_128x192_s6w4_c2, kPlain16, 2, 1, 192, 6, 4, 2, 1)    \
    X(nested16_128x176_s5w3_c2, kNested16, 2, 1, 176, 5, 3, 2, 1)  \
    X(plain16_128x176_s6w4_c2, kPlain16, 2, 1, 176, 6, 4, 2, 1)    \
    X(nested16_128x160_s6w3_c2, kNested16, 2, 1, 160, 6, 3, 2, 1)  \
    X(plain16_128x160_s6w5_c2, kPlain16, 2, 1, 160, 6, 5, 2, 1)    \
    X(nested16_128x160_s6w3_t2, kNested16, 2, 1, 160, 6, 3, 1, 2)  \
    X(plain16_128x160_s6w5_t2, kPlain16, 2, 1, 160, 6, 5, 1, 2)    \
    X(nested16_192x128_s5w3_t2, kNested16, 3, 1, 128, 5, 3, 1, 2)  \
    X(plain16_192x128_s6w4_t2, kPlain16, 3, 1, 128, 6, 4, 1, 2)    \
    X(nested16_128x128_s6w4_c1, kNested16, 2, 1, 128, 6, 4, 1, 1)  \
    X(plain16_128x128_s8w5_c1, kPlain16, 2, 1, 128, 8, 5, 1, 1)    \
    X(nested16_128x128_s6w4_c2, kNested16, 2, 1, 128, 6, 4, 2, 1)  \
    X(plain16_128x128_s8w5_c2, kPlain16, 2, 1, 128, 8, 5, 2, 1)    \
    X(nested16_128x128_s6w4_t2, kNested16, 2, 1, 128, 6, 4, 1, 2)  \
    X(plain16_128x128_s8w5_t2, kPlain16, 2, 1, 128, 8, 5, 1, 2)    \
    X(nested16_64x128_s8w6_c2, kNested16, 1, 1, 128, 8, 6, 2, 1)   \
    X(plain16_64x128_s8w8_c2, kPlain16, 1, 1, 128, 8, 8, 2, 1)     \
    X(nested16_64x128k2_s4w4_c1, kNested16, 1, 2, 128, 4, 4, 1, 1) \
    X(plain16_64x128k2_s4w3_c1, kPlain16, 1, 2, 128, 4, 3, 1, 1)   \
    X(nested16_64x128k2_s4w4_c2, kNested16, 1, 2, 128, 4, 4, 2, 1) \
    X(plain16_64x128k2_s4w3_c2, kPlain16, 1, 2, 128, 4, 3, 2, 1)   \
    X(nested16_64x128k2_s4w4_t2, kNested16, 1, 2, 128, 4, 4, 1, 2) \
    X(plain16_64x128k2_s4w3_t2, kPlain16, 1, 2, 128, 4, 3, 1, 2)   \
    X(nested16_128x96_s8w4_c2, kNested16, 2, 1, 96, 8, 4, 2, 1)    \
    X(plain16_128x96_s8w6_c2, kPlain16, 2, 1, 96, 8, 6, 2, 1)      \
    X(nested16_64x96k2_s5w5_c1, kNested16, 1, 2, 96, 5, 5, 1, 1)   \
    X(plain16_64x96k2_s5w4_c1, kPlain16, 1, 2, 96, 5, 4, 1, 1)     \
    X(nested16_64x64k2_s6w5_c1, kNested16, 1, 2, 64, 6, 5, 1, 1)   \
    X(plain16_64x64k2_s6w5_c1, kPlain16, 1, 2, 64, 6, 5, 1, 1)     \
    X(nested16_64x64k2_s6w6_c2, kNested16, 1, 2, 64, 6, 6, 2, 1)   \
    X(plain16_64x64k2_s6w6_c2, kPlain16, 1, 2, 64, 6, 6, 2, 1)     \
    X(nested16_64x64k2_s6w6_t2, kNested16, 1, 2, 64, 6, 6, 1, 2)   \
    X(plain16_64x64k2_s6w6_t2, kPlain16, 1, 2, 64, 6, 6, 1, 2)     \
    X(nested16_64x32k2_s8w8_c1, kNested16, 1, 2, 32, 8, 8, 1, 1)   \
    X(plain16_64x32k2_s8w8_c1, kPlain16, 1, 2, 32, 8, 8, 1, 1)     \
    X(nested16_64x16k2_s8w8_c1, kNested16, 1, 2, 16, 8, 8, 1, 1)   \
    X(plain16_64x16k2_s8w8_c1, kPlain16, 1, 2, 16, 8, 8, 1, 1)     \
    X(nested16_64x16k4_s5w4_c1, kNested16, 1, 4, 16, 5, 4, 1, 1)   \
    X(plain16_64x16k4_s5w4_c1, kPlain16, 1, 4, 16, 5, 4, 1, 1)     \
    X(nested16_64x8k2_s9w9_c1, kNested16, 1, 2, 8, 9, 9, 1, 1)     \
    X(plain16_64x8k2_s9w9_c1, kPlain16, 1, 2, 8, 9, 9, 1, 1)       \
    X(nested16_64x8k4_s5w5_c1, kNested16, 1, 4, 8, 5, 5, 1, 1)     \
    X(plain16_64x8k4_s5w5_c1, kPlain16, 1, 4, 8, 5, 5, 1, 1)       \
    X(w8a16_64x64k2_s8w8_c1, kW8A16, 1, 2, 64, 8, 8, 1, 1)         \
    X(w8a16_64x16k4_s8w8_c1, kW8A16, 1, 4, 16, 8, 8, 1, 1)         \
    X(w8a16_64x8k4_s9w9_c1, kW8A16, 1, 4, 8, 9, 9, 1, 1)           \
    X(w8a8_128x256_s4w4_c2, kW8A8, 2, 1, 256, 4, 4, 2, 1)          \
    X(w8a8_128x256_s4w4_t2, kW8A8, 2, 1, 256, 4, 4, 1, 2)          \
    X(w8a8_128x208_s5w5_c2, kW8A8, 2, 1, 208, 5, 5, 2, 1)          \
    X(w8a8_128x176_s5w5_c2, kW8A8, 2, 1, 176, 5, 5, 2, 1)          \
    X(w8a8_128x160_s5w5_c2, kW8A8, 2, 1, 160, 5, 5, 2, 1)          \
    X(w8a8_192x128_s5w5_t2, kW8A8, 3, 1, 128, 5, 5, 1, 2)          \
    X(w8a8_128x128_s6w6_c1, kW8A8, 2, 1, 128, 6, 6, 1, 1)          \
    X(w8a8_128x128_s6w6_c2, kW8A8, 2, 1, 128, 6, 6, 2, 1)          \
    X(w8a8_128x128_s6w6_t2, kW8A8, 2, 1, 128, 6, 6, 1, 2)          \
    X(w8a8_64x128_s8w8_c2, kW8A8, 1, 1, 128, 8, 8, 2, 1)           \
    X(w8a8_64x128_s8w8_t2, kW8A8, 1, 1, 128, 8, 8, 1, 2)           \
    X(w8a8_128x64_s8w8_c1, kW8A8, 2, 1, 64, 8, 8, 1, 1)            \
    X(w8a8_64x64k2_s6w6_c2, kW8A8, 1, 2, 64, 6, 6, 2, 1)           \
    X(w8a8_64x64k2_s6w6_t2, kW8A8, 1, 2, 64, 6, 6, 1, 2)           \
    X(w8a8_64x32k2_s8w8_c1, kW8A8, 1, 2, 32, 8, 8, 1, 1)           \
    X(w8a8_64x16k2_s8w8_c1, kW8A8, 1, 2, 16, 8, 8, 1, 1)           \
    X(w8a8f32_128x128_s6w6_c1, kW8A8F32, 2, 1, 128, 6, 6, 1, 1)    \
    X(w8a8f32_128x128_s6w6_c2, kW8A8F32, 2, 1, 128, 6, 6, 2, 1)    \
    X(w8a8f32_128x128_s6w6_t2, kW8A8F32, 2, 1, 128, 6, 6, 1, 2)    \
    X(w8a8f32_64x128_s8w8_c2, kW8A8F32, 1, 1, 128, 8, 8, 2, 1)     \
    X(w8a8f32_64x128_s8w8_t2, kW8A8F32, 1, 1, 128, 8, 8, 1, 2)     \
    X(w8a8f32_128x64_s8w8_c1, kW8A8F32, 2, 1, 64, 8, 8, 1, 1)      \
    X(w8a8f32_64x64k2_s6w6_c2, kW8A8F32, 1, 2, 64, 6, 6, 2, 1)     \
    X(w8a8f32_64x64k2_s6w6_t2, kW8A8F32, 1, 2, 64, 6, 6, 1, 2)     \
    X(w8a8f32_64x32k2_s8w8_c1, kW8A8F32, 1, 2, 32, 8, 8, 1, 1)     \
    X(w8a8f32_64x16k2_s8w8_c1, kW8A8F32, 1, 2, 16, 8, 8, 1, 1)     \
    X(a8w8_64x80k2_s5w5_c2, kA8W8, 1, 2, 80, 5, 5, 2, 1)           \
    X(a8w8_64x96_s9w9_c2, kA8W8, 1, 1, 96, 9, 9, 2, 1)             \
    X(a8w8_64x160_s7w7_c2, kA8W8, 1, 1, 160, 7, 7, 2, 1)           \
    X(a8w8_64x192_s6w6_c2, kA8W8, 1, 1, 192, 6, 6, 2, 1)           \
    X(a8w8_128x40_s9w9_c1, kA8W8, 2, 1, 40, 9, 9, 1, 1)            \
    X(a8w8_128x48_s9w9_c1, kA8W8, 2, 1, 48, 9, 9, 1, 1)            \
    X(a8w8_128x80_s7w7_c2, kA8W8, 2, 1, 80, 7, 7, 2, 1)            \
    X(a8w8_128x160_s5w5_c2, kA8W8, 2, 1, 160, 5, 5, 2, 1)          \
    X(a8w8_128x240_s4w4_c2, kA8W8, 2, 1, 240, 4, 4, 2, 1)

inline constexpr GemmConfig kGemmConfigs[] = {
#define NESTEDFP_ROW(name, weights, rows, ks, tokens, stages, weight_stages, cluster_rows, cluster_tokens) \
    {#name, Weights::weights, rows, ks, tokens, stages, weight_stages, cluster_rows, cluster_tokens},
    NESTEDFP_GEMM_CONFIGS(NESTEDFP_ROW)
#undef NESTEDFP_ROW
};

}  // namespace nestedfp::kernels
