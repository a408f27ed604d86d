// Has the blocks of a cut tile exchange their sums on a CPU, for every configuration, and adds the sums up apart
// from the kernel's code. Prints each rule that is broken.
#define __device__
#define __forceinline__ inline

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdio>
#include <map>
#include <vector>

#include "require.h"

struct uint4 {
    uint32_t x, y, z, w;
};
static uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) { return {x, y, z, w}; }

static struct {
    uint32_t x;
} blockIdx, threadIdx, gridDim;

/// Instead of looking at what is not there yet for ever.
struct Waits {};

static void __syncwarp() {}
static bool __all_sync(uint32_t, bool holds) { return holds ? true : throw Waits{}; }
static float __uint_as_float(uint32_t bits) { return std::bit_cast<float>(bits); }

// The headers of these functions are empty in the copy of kernels/ that this is compiled against.
namespace nestedfp::ptx {
static std::map<uint32_t, uint32_t> shared_of_block[256];
inline void store_shared(uint32_t at, uint32_t value) { shared_of_block[blockIdx.x][at] = value; }
inline uint32_t load_shared(uint32_t at) { return shared_of_block[blockIdx.x].at(at); }
inline uint64_t load_relaxed(const uint64_t* word) { return *word; }
inline void add_relaxed(uint64_t* word, uint64_t value) { *word += value; }
template <int kThreads>
void barrier_sync(int) {}
template <typename Quad>
void store_relaxed_16(Quad* to, uint4 value) {
    *to = {{value.x, value.y, value.z}, value.w};
}
template <typename Quad>
uint4 load_relaxed_16(const Quad* from) {
    return {from->sums[0], from->sums[1], from->sums[2], from->launch};
}
/// PTX's prmt without its signs.
template <uint32_t kSelect>
uint32_t permute_bytes(uint32_t x, uint32_t y) {
    const uint64_t bytes = static_cast<uint64_t>(y) << 32 | x;
    uint32_t out = 0;
    for (int i = 0; i < 4; ++i) {
        const uint32_t chosen = kSelect >> 4 * i & 7;
        out |= static_cast<uint32_t>(bytes >> 8 * chosen & 0xff) << 8 * i;
    }
    return out;
}
template <uint32_t kSelect>
uint32_t permute_sums(float x, float y) {
    return permute_bytes<kSelect>(std::bit_cast<uint32_t>(x), std::bit_cast<uint32_t>(y));
}
}  // namespace nestedfp::ptx

#include "gemm/block_sum.cuh"
#include "interface/launch_plan.h"

using namespace nestedfp;

namespace {

struct Problem {
    const char* config;
    kernels::Schedule schedule;
    int sm_count;

    void print() const { std::printf("%s, schedule %d, %d SMs", config, static_cast<int>(schedule), sm_count); }
};

/// Of both signs, from 2^-15 to 2.
float value_of(uint64_t launch, uint64_t slot, uint64_t block, uint64_t thread, uint64_t at) {
    uint64_t z = (((launch * 1021 + slot) * 1021 + block) * 1021 + thread) * 1021 + at;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return std::bit_cast<float>(static_cast<uint32_t>(z >> 32) & 0x8fffffffu | 0x38000000u);
}

float truncated(float sum) { return std::bit_cast<float>(std::bit_cast<uint32_t>(sum) & 0xffffff00u); }

template <kernels::GemmConfig kConfig>
int check(const Problem& p) {
    constexpr int kSums = kConfig.block_tokens / 2;
    constexpr int kSumsOfChunk = kConfig.store_tokens() / 2;
    kernels::LaunchPlan plan = kernels::plan_launch(kConfig, p.schedule, 300, 1040, 4112, p.sm_count);
    kernels::GemmParams& params = plan.params;
    if (params.cut_tiles == 0) return 0;
    std::vector<kernels::Quad> partials(plan.partials_bytes / sizeof(kernels::Quad));
    uint64_t launches = 0;
    params.partials = partials.data();
    params.launches = &launches;
    gridDim.x = plan.grid;
    const int clusters = static_cast<int>(plan.grid / plan.cluster);
    std::map<int, int> cluster_of_slot;
    for (int c = 0; c < clusters; ++c) {
        gemm::TileOrder order(params, c, clusters);
        for (gemm::Segment s; order.next(s);) {
            if (s.k_end - s.k_begin < params.k_tiles) cluster_of_slot[s.slot] = c;
        }
    }
    /// Calls `body` for some threads of every block, with each cut segment's exchange.
    const auto over_segments = [&](auto body) {
        for (int c = 0; c < clusters; ++c) {
            for (uint32_t rank = 0; rank < plan.cluster; ++rank) {
                blockIdx.x = static_cast<uint32_t>(c) * plan.cluster + rank;
                gemm::TileOrder order(params, c, clusters);
                for (gemm::Segment s; order.next(s);) {
                    if (s.k_end - s.k_begin == params.k_tiles) continue;
                    const gemm::Exchange<kConfig> exchange(params, order, s);
                    for (int group = 0; group < kConfig.row_groups; ++group) {
                        for (const uint32_t thread : {0u, 37u, 127u}) {
                            threadIdx.x = static_cast<uint32_t>(group) * 128 + thread;
                            body(gemm::BlockSum<kConfig>(params, 0, group), exchange, rank);
                        }
                    }
                }
            }
        }
    };
    const auto over_warps = [&](auto body) {
        for (blockIdx.x = 0; blockIdx.x < plan.grid; ++blockIdx.x) {
            for (int group = 0; group < kConfig.row_groups; ++group) {
                for (const uint32_t thread : {0u, 32u, 64u, 96u}) {
                    threadIdx.x = static_cast<uint32_t>(group) * 128 + thread;
                    body(gemm::BlockSum<kConfig>(params, 0, group));
                }
            }
        }
    };
    int sums_from_others = 0;
    for (uint64_t launch = 0; launch < 3; ++launch) {
        over_warps([](const auto& block_sum) { block_sum.begin(); });
        const auto fill = [&](float(&sums)[kSums], int slot, uint32_t rank) {
            for (int i = 0; i < kSums; ++i) {
                sums[i] = value_of(launch, static_cast<uint64_t>(slot), rank, threadIdx.x,
                                   static_cast<uint64_t>(i));
            }
        };
        // Memory is zero, or has what the launch before left: neither may be taken for this one's.
        over_segments([&](const auto& block_sum, const auto& exchange, uint32_t rank) {
            float sums[kSums];
            fill(sums, exchange.own, rank);
            if (exchange.end - exchange.first < 2 || !exchange.has_mine()) return;
            bool waits = false;
            try {
                block_sum.collect(sums, exchange);
            } catch (Waits) {
                waits = true;
            }
            require(waits, p, "what this launch has not left is waited for");
        });
        over_segments([&](const auto& block_sum, const auto& exchange, uint32_t rank) {
            float sums[kSums];
            fill(sums, exchange.own, rank);
            if (exchange.leaves) block_sum.leave(sums, exchange);
        });
        over_segments([&](const auto& block_sum, const auto& exchange, uint32_t rank) {
            float sums[kSums], expected[kSums];
            fill(sums, exchange.own, rank);
            fill(expected, exchange.own, rank);
            for (int slot = exchange.first; slot < exchange.end; ++slot) {
                if (slot == exchange.own) continue;
                float others[kSums];
                fill(others, slot, rank);
                for (int i = 0; i < kSums; ++i) {
                    if (!exchange.is_mine(i / kSumsOfChunk)) continue;
                    expected[i] += truncated(others[i]);
                    ++sums_from_others;
                }
            }
            try {
                block_sum.collect(sums, exchange);
            } catch (Waits) {
                require(false, p, "what was left is found");
            }
            require(std::equal(sums, sums + kSums, expected), p, "the sum is that of all parts, in order");
        });
        over_warps([](const auto& block_sum) { block_sum.finish(); });
        require(launches == (launch + 1) * kernels::kLaunchUnits, p, "a launch counts as one");
    }
    require(sums_from_others > 0, p, "cut tiles have sums of others");
    return 1;
}

using Check = int (*)(const Problem&);
constexpr Check kChecks[] = {
#define NESTEDFP_ROW(name, weights, rows, ks, tokens, stages, weight_stages, cluster_rows, cluster_tokens) \
    check<kernels::GemmConfig{nullptr, kernels::Weights::weights, rows, ks, tokens, stages, weight_stages, \
                              cluster_rows, cluster_tokens}>,
    NESTEDFP_GEMM_CONFIGS(NESTEDFP_ROW)
#undef NESTEDFP_ROW
};

}  // namespace

int main() {
    int problems = 0;
    for (const kernels::GemmConfig& config : kernels::kGemmConfigs) {
        int cut = 0;
        for (const auto schedule :
             {kernels::Schedule::kSplit, kernels::Schedule::kStream, kernels::Schedule::kSplitLast}) {
            for (const int sm_count : {16, 132}) {
                cut += kChecks[&config - kernels::kGemmConfigs]({config.name, schedule, sm_count});
            }
        }
        if (cut == 0) std::printf("no tile of %s was cut\n", config.name);
        problems += cut;
    }
    std::printf("%d problems, %d rules broken\n", problems, broken);
}
