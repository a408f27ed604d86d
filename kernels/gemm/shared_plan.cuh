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

    // Two rings: stages of token tiles with the chunks of all K groups, and stages of weights.
    static constexpr int tokens(int k_group) { return k_group * kTokenBytes; }
    static constexpr int plane(int which, int chunk) {
        return kConfig.stages * kStageBytes + (which * kConfig.weight_chunks() + chunk) * kPlaneBytes;
    }

    static constexpr int kStore = kConfig.stages * kStageBytes + kConfig.weight_stages * kWeightStageBytes;
    static constexpr int kReduce = kStore + kConfig.store_bytes();
    static constexpr int kScales = kReduce + kConfig.reduce_bytes();
    static constexpr int kBarriers = kScales + kConfig.scale_bytes();
    static constexpr int tokens_full(int stage) { return kBarriers + 8 * stage; }
    static constexpr int tokens_empty(int stage) { return tokens_full(kConfig.stages + stage); }
    static constexpr int weights_full(int stage) { return tokens_full(2 * kConfig.stages + stage); }
    static constexpr int weights_empty(int stage) { return weights_full(kConfig.weight_stages + stage); }

    /// A word of each warp that stores.
    static constexpr int launch(int warp) { return weights_empty(kConfig.weight_stages) + 4 * warp; }

    static_assert(kTokenBytes / kConfig.cluster_rows % 1024 == 0,
                  "each block's share of the token tile is whole swizzle atoms");
    static_assert(kPlaneBytes / kConfig.cluster_tokens % 1024 == 0,
                  "each block's share of the weights is whole swizzle atoms");
    static_assert(kStageBytes % 1024 == 0 && kWeightStageBytes % 1024 == 0,
                  "stages start at a multiple of 1024");
    static_assert(kConfig.store_tokens() * 128 % 1024 == 0, "store buffers are whole swizzle atoms");
    static_assert(!kConfig.stores_in_weights() || kConfig.weight_stages >= (kConfig.k_groups > 1 ? 3 : 2),
                  "what is loaded before a held stage is given back has room beside it");
    static_assert(kConfig.store_buffers() >= 2, "one store is read while the next is written");
};

}  // namespace nestedfp::gemm
