// Ids of the named barriers of a block.
#pragma once

#include "../interface/configs.h"

namespace nestedfp::gemm {

template <kernels::GemmConfig kConfig>
struct Barriers {
    /// Where the consumers and the warp that loads tokens wait for the warp that loads weights.
    static constexpr int kStart = 0;
    static constexpr int kStartThreads = 128 * kConfig.warpgroups() + 64;
    /// Of the K groups of a row group.
    static constexpr int k_groups(int row_group) { return 1 + row_group; }
    /// Of the warpgroup that stores a row group.
    static constexpr int warpgroup(int row_group) { return 1 + kConfig.row_groups + row_group; }
    /// Where a warpgroup waits for its turn at the tensor cores.
    static constexpr int turn(int warpgroup) { return 1 + 2 * kConfig.row_groups + warpgroup; }

    /// Where the warpgroup that stores a row group has left its sums, and the warp that tells so waits.
    static constexpr int left(int row_group) { return turn(kConfig.warpgroups()) + row_group; }
    static constexpr int kLeftThreads = 128 + 32;

    static_assert(left(kConfig.row_groups) <= 16, "a block has 16 named barriers");
};

}  // namespace nestedfp::gemm
