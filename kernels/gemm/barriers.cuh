// Ids of the named barriers of a block.
#pragma once

#include "../interface/configs.h"

namespace nestedfp::gemm {

template <kernels::GemmConfig kConfig>
struct Barriers {
    /// Where the consumers wait for the two warps that initialise the barriers in shared memory, and where
    /// the warps that load do. synccheck wants all that wait at one of these to do so at the same place.
    static constexpr int kStart = 0;
    static constexpr int kStartThreads = 128 * kConfig.warpgroups() + 64;
    static constexpr int kLoadersStart = 1;
    /// Of the K groups of a row group.
    static constexpr int k_groups(int row_group) { return 2 + row_group; }
    /// Of the warpgroup that stores a row group.
    static constexpr int warpgroup(int row_group) {
        return k_groups(kConfig.k_groups > 1 ? kConfig.row_groups : 0) + row_group;
    }
    /// Where a warpgroup waits for its turn at the tensor cores.
    static constexpr int turn(int warpgroup_of_block) {
        return warpgroup(kConfig.row_groups) + warpgroup_of_block;
    }

    static_assert(turn(kConfig.k_groups > 1 ? 0 : kConfig.row_groups) <= 16, "a block has 16 named barriers");
};

}  // namespace nestedfp::gemm
