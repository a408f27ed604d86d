// Where everything lies in shared memory; offsets from a start aligned to 1024 bytes.
#pragma once

#include "../interface/configs.h"

namespace nestedfp::gemm {

template <kernels::GemmConfig kConfig>
struct SharedPlan {
    static constexpr int kPlaneBytes = kConfig.plane_chunk_bytes();
    static constexpr int kTokenBytes = kConfig.token_chunk_bytes();
    static constexpr int kStageBytes = kConfig.stage_bytes();
    static constexpr int kWeightStageBytes = kConfig.weight_stage_bytes();

    // Two rings: one of token tiles, one of weights, each stage with the parts of all K groups.
    static constexpr int tokens(int k_group) { return k_group * kTokenBytes; }
    static constexpr int plane(int which, int k_group) {
        return kConfig.stages * kStageBytes + (which * kConfig.k_groups + k_group) * kPlaneBytes;
    }

    static constexpr int kStore = kConfig.stages * kStageBytes + kConfig.weight_stages * kWeightStageBytes;
    static constexpr int kReduce = kStore + kConfig.store_bytes();
    static constexpr int kBarriers = kReduce + kConfig.reduce_bytes();
    static constexpr int tokens_full(int stage) { return kBarriers + 8 * stage; }
    static constexpr int tokens_empty(int stage) { return tokens_full(kConfig.stages + stage); }
    static constexpr int weights_full(int stage) { return tokens_full(2 * kConfig.stages + stage); }
    static constexpr int weights_empty(int stage) { return weights_full(kConfig.weight_stages + stage); }

    static_assert(kTokenBytes / kConfig.cluster % 1024 == 0,
                  "each block's share of the token tile is whole swizzle atoms");
    static_assert(kConfig.row_bytes() == 64 || kPlaneBytes % 1024 == 0,
                  "swizzled tiles start at a multiple of 1024");
    static_assert(kStageBytes % 1024 == 0 && kWeightStageBytes % 1024 == 0,
                  "stages start at a multiple of 1024");
    static_assert(kConfig.store_tokens() * 128 % 1024 == 0, "store buffers are whole swizzle atoms");
    static_assert(kConfig.shared_bytes() <= (kConfig.blocks_per_sm == 1 ? 232448 : 115712),
                  "an SM of sm_90 has 228 KiB of shared memory, of which each block costs 1 KiB");
};

}  // namespace nestedfp::gemm
