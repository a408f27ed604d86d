// Runs the loaders of every configuration for many problems on a CPU, with copies that are only written down.
// Prints each rule that is broken: a barrier that waits for other bytes than arrive would wait for ever.
#define __device__
#define __forceinline__ inline

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <map>
#include <vector>

#include "require.h"

static struct {
    uint32_t x;
} blockIdx;

using std::max;
using std::min;

/// What a loader waited for last.
struct Waits {
    uint32_t barrier;
    uint32_t parity;
};
static Waits waits;
static bool has_previous_grid_ended;

/// What a loader does in one stage of its ring.
struct Fill {
    Waits waits;
    uint32_t barrier = 0;
    uint32_t expected = 0;
    bool is_awaited = false;
    struct Load {
        uint32_t to;
        const void* map;
        int32_t column;
        int32_t row;
        uint32_t barrier;
        uint32_t blocks;
        bool has_previous_grid_ended;
    };
    std::vector<Load> loads;
};
static std::vector<Fill>* fills;

/// The last that counts on this barrier.
static Fill* fill_of(uint32_t barrier) {
    const auto found = std::find_if(fills->rbegin(), fills->rend(), [&](const Fill& f) { return f.barrier == barrier; });
    return found == fills->rend() ? nullptr : &*found;
}

static int lonely_loads = 0;
static int endless_waits = 0;

// The headers of these functions are empty in the copy of kernels/ that this is compiled against.
namespace nestedfp::ptx {
inline constexpr uint64_t kEvictNormal = 0, kEvictFirst = 1, kEvictLast = 2;
inline void wait_for_previous_grid() { has_previous_grid_ended = true; }
inline void prefetch_tensor_map(const void*) {}
inline void mbarrier_wait(uint32_t barrier, uint32_t parity) {
    Fill* fill = fill_of(barrier);
    if (fill == nullptr) {
        waits = {barrier, parity};
    } else {
        fill->is_awaited = true;
        endless_waits += fill != &fills->front() || parity != 0;
    }
}
inline void mbarrier_arrive_expect_tx(uint32_t barrier, uint32_t bytes) {
    fills->push_back({waits, barrier, bytes, false, {}});
    waits = {~0u, 0};  // the next stage needs a wait of its own
}
inline void tma_load_multicast(uint32_t to, const void* map, int32_t column, int32_t row, uint32_t barrier,
                               uint16_t blocks, uint64_t) {
    Fill* fill = fill_of(barrier);
    if (fill == nullptr) {
        ++lonely_loads;
    } else {
        endless_waits += fill->is_awaited;
        fill->loads.push_back({to, map, column, row, barrier, blocks, has_previous_grid_ended});
    }
}
inline void tma_load(uint32_t to, const void* map, int32_t column, int32_t row, uint32_t barrier,
                     uint64_t policy) {
    tma_load_multicast(to, map, column, row, barrier, 0, policy);
}
}  // namespace nestedfp::ptx

#include "gemm/token_loader.cuh"
#include "gemm/weight_loader.cuh"
#include "interface/launch_plan.h"

using namespace nestedfp;

namespace {

struct Problem {
    const char* config;
    kernels::Schedule schedule;
    int m, n, k;

    void print() const { std::printf("%s, schedule %d, m %d, n %d, k %d", config, static_cast<int>(schedule), m, n, k); }
};

/// The stages of one ring, of all blocks of a cluster: what they expect must be what arrives, in places of
/// its own.
void check_ring(const Problem& p, const std::vector<std::vector<Fill>>& blocks,
                const std::map<const void*, kernels::TensorMapSpec>& maps, const void* lower) {
    for (const std::vector<Fill>& block : blocks) {
        require(block.size() == blocks[0].size(), p, "all blocks of a cluster fill as many stages");
        if (block.size() != blocks[0].size()) return;
    }
    for (size_t at = 0; at < blocks[0].size(); ++at) {
        for (size_t target = 0; target < blocks.size(); ++target) {
            const Fill& own = blocks[target][at];
            uint32_t arrives = 0;
            std::vector<std::pair<uint32_t, uint32_t>> places;
            for (size_t source = 0; source < blocks.size(); ++source) {
                for (const Fill::Load& load : blocks[source][at].loads) {
                    const uint32_t reached = load.blocks == 0 ? 1u << source : load.blocks;
                    if ((reached >> target & 1) == 0) continue;
                    require(load.barrier == own.barrier, p, "a copy counts on the barrier of its stage");
                    const kernels::TensorMapSpec& map = maps.at(load.map);
                    const uint32_t element = map.type == kernels::ElementType::kFloat16 ? 2 : 1;
                    const uint32_t bytes = map.box_rows * map.box_cols * element;
                    arrives += bytes;
                    places.push_back({load.to, load.to + bytes});
                    const bool is_zeros = load.map == lower && load.row == kernels::kBeyondLower;
                    require(is_zeros || (load.row >= 0 && load.row + map.box_rows <= map.rows), p,
                            "a copy ends where the matrix does");
                }
            }
            require(arrives == own.expected, p, "a stage gets the bytes that it expects");
            std::sort(places.begin(), places.end());
            for (size_t i = 1; i < places.size(); ++i) {
                require(places[i - 1].second <= places[i].first, p, "no two copies go to one place");
            }
        }
    }
}

/// A stage is filled again when its consumers have read it, and with activations when the kernel before this
/// one has ended.
void check_waits(const Problem& p, const std::vector<Fill>& fills_of_block, uint32_t first_empty, int stages,
                 bool are_activations) {
    for (size_t at = 0; at < fills_of_block.size(); ++at) {
        const Fill& fill = fills_of_block[at];
        const uint32_t round = static_cast<uint32_t>(at) / stages, stage = static_cast<uint32_t>(at) % stages;
        const bool has_waited =
            fill.waits.barrier == first_empty + 8 * stage && fill.waits.parity == (round & 1 ^ 1);
        require(round == 0 || has_waited, p, "a stage is filled when it is empty");
        for (const Fill::Load& load : fill.loads) {
            require(!are_activations || load.has_previous_grid_ended, p,
                    "activations are loaded when the kernel before has ended");
        }
    }
}

/// Where each copy goes, worked out from the stage that a consumer reads it in.
template <kernels::GemmConfig kConfig>
void check_places(const Problem& p, const kernels::GemmParams& params, const gemm::TileOrder& order,
                  const std::vector<std::vector<Fill>>& weights,
                  const std::vector<std::vector<Fill>>& tokens) {
    using Plan = gemm::SharedPlan<kConfig>;
    for (size_t source = 0; source < weights.size(); ++source) {
        for (size_t target = 0; target < weights.size(); ++target) {
            const int32_t rank_n = static_cast<int32_t>(target) % kConfig.cluster_rows;
            const int32_t rank_m = static_cast<int32_t>(target) / kConfig.cluster_rows;
            const auto reaches = [&](const Fill::Load& load) {
                return ((load.blocks == 0 ? 1u << source : load.blocks) >> target & 1) != 0;
            };
            size_t at_weights = 0, at_tokens = 0;
            gemm::TileOrder again = order;
            for (gemm::Segment s; again.next(s);) {
                int32_t row_tile, token_tile;
                again.coordinates(s.tile, row_tile, token_tile);
                const int32_t row = (row_tile * kConfig.cluster_rows + rank_n) * kConfig.block_rows();
                const int32_t token = (token_tile * kConfig.cluster_tokens + rank_m) * kConfig.block_tokens;
                for (int32_t i = s.k_begin * kConfig.weight_stages_per_step();
                     i < s.k_end * kConfig.weight_stages_per_step(); ++i, ++at_weights) {
                    const int32_t stage = static_cast<int32_t>(at_weights % kConfig.weight_stages);
                    const Fill& fill = weights[source][at_weights];
                    require(fill.barrier == static_cast<uint32_t>(Plan::weights_full(stage)), p,
                            "weights' barrier");
                    for (const Fill::Load& load : fill.loads) {
                        if (!reaches(load)) continue;
                        const int32_t place = static_cast<int32_t>(load.to) - Plan::plane(0, 0) -
                                              stage * Plan::kWeightStageBytes;
                        const int32_t plane = place / Plan::kPlaneBytes,
                                      chunk = plane % kConfig.weight_chunks();
                        const bool is_lower = plane / kConfig.weight_chunks() == 1;
                        const int32_t mine = row + place % Plan::kPlaneBytes / 128,
                                      k = i * kConfig.weight_chunks() + chunk;
                        require(place >= 0 && place < Plan::kWeightStageBytes &&
                                    is_lower == (load.map == &params.lower),
                                p, "weights go to their stage");
                        if (!is_lower) {
                            require(load.row == mine && load.column == k * kConfig.weight_chunk_k(), p,
                                    "the weights are those of their place");
                        } else {
                            const bool beyond = k >= params.lower_groups;
                            require(
                                load.column == 0 &&
                                    load.row == (beyond ? kernels::kBeyondLower
                                                        : kernels::lower_row(mine, k, params.lower_groups)),
                                p, "the residuals are those of their place");
                        }
                    }
                }
                for (int32_t i = s.k_begin * kConfig.token_stages_per_step();
                     i < s.k_end * kConfig.token_stages_per_step(); ++i, ++at_tokens) {
                    const int32_t stage = static_cast<int32_t>(at_tokens % kConfig.stages);
                    const Fill& fill = tokens[source][at_tokens];
                    require(fill.barrier == static_cast<uint32_t>(Plan::tokens_full(stage)), p,
                            "tokens' barrier");
                    for (const Fill::Load& load : fill.loads) {
                        if (!reaches(load)) continue;
                        const int32_t place = static_cast<int32_t>(load.to) - stage * Plan::kStageBytes;
                        require(place >= 0 && place < Plan::kStageBytes, p, "tokens go to their stage");
                        require(load.row == token + place % Plan::kTokenBytes / 128 &&
                                    load.column == (i * kConfig.k_groups + place / Plan::kTokenBytes) *
                                                       kConfig.chunk_k(),
                                p, "the tokens are those of their place");
                    }
                }
            }
        }
    }
}

template <kernels::GemmConfig kConfig>
void check(const Problem& p) {
    const kernels::LaunchPlan plan = kernels::plan_launch(kConfig, p.schedule, p.m, p.n, p.k, 132);
    const kernels::GemmParams& params = plan.params;
    const std::map<const void*, kernels::TensorMapSpec> maps = {
        {&params.weights, plan.weights},
        {&params.last_weights, plan.last_weights},
        {&params.activations, plan.activations},
        {&params.last_activations, plan.last_activations},
        {&params.lower, plan.lower}};
    const uint32_t clusters = plan.grid / plan.cluster;
    for (uint32_t cluster = 0; cluster < clusters; ++cluster) {
        std::vector<std::vector<Fill>> weights(plan.cluster), tokens(plan.cluster);
        const gemm::TileOrder order(params, static_cast<int32_t>(cluster), static_cast<int32_t>(clusters));
        for (uint32_t rank = 0; rank < plan.cluster; ++rank) {
            blockIdx.x = cluster * plan.cluster + rank;
            lonely_loads = endless_waits = 0;
            const auto run = [&](auto loader, std::vector<Fill>& into) {
                waits = {~0u, 0};
                has_previous_grid_ended = false;
                fills = &into;
                gemm::TileOrder order_of_loader = order;
                gemm::Work<kConfig> first;
                require(first.next(order_of_loader), p, "a block has work");
                loader.run(order_of_loader, first);
            };
            run(gemm::WeightLoader<kConfig>(params, 0), weights[rank]);
            run(gemm::TokenLoader<kConfig>(params, 0), tokens[rank]);
            require(lonely_loads == 0, p, "a stage expects bytes before it is loaded");
            require(endless_waits == 0, p, "a loader waits for its first stage alone, when its copies are under way");
            using Plan = gemm::SharedPlan<kConfig>;
            check_waits(p, weights[rank], Plan::weights_empty(0), kConfig.weight_stages, kConfig.swaps_operands());
            check_waits(p, tokens[rank], Plan::tokens_empty(0), kConfig.stages, !kConfig.swaps_operands());
        }
        check_ring(p, weights, maps, &params.lower);
        check_ring(p, tokens, maps, nullptr);
        check_places<kConfig>(p, params, order, weights, tokens);
        // Counted apart from the loaders: the rows and tokens of each segment's tile, once for each step.
        uint64_t rows = 0, columns = 0;
        gemm::TileOrder again(params, static_cast<int32_t>(cluster), static_cast<int32_t>(clusters));
        for (gemm::Segment s; again.next(s);) {
            int32_t row_tile, token_tile;
            again.coordinates(s.tile, row_tile, token_tile);
            const auto inside = [&](int32_t tile, int32_t size, int32_t count) {
                return static_cast<uint64_t>(max(0, min(count - tile * size, size)));
            };
            const uint64_t steps = static_cast<uint64_t>(s.k_end - s.k_begin);
            rows += steps * inside(row_tile, kConfig.block_rows() * kConfig.cluster_rows, params.n);
            columns += steps * inside(token_tile, kConfig.block_tokens * kConfig.cluster_tokens, params.m);
        }
        const auto loaded = [&](const std::vector<std::vector<Fill>>& blocks, const void* whole,
                                const void* last) {
            uint64_t count = 0;
            for (const std::vector<Fill>& block : blocks) {
                for (const Fill& fill : block) {
                    for (const Fill::Load& load : fill.loads) {
                        if (load.map == whole || load.map == last) count += maps.at(load.map).box_rows;
                    }
                }
            }
            return count;
        };
        const uint64_t weight_chunks = kConfig.block_k() / kConfig.weight_chunk_k();
        const uint64_t token_chunks = kConfig.block_k() / kConfig.chunk_k();
        require(loaded(weights, &params.weights, &params.last_weights) == rows * weight_chunks, p,
                "every row of a tile is loaded once for the blocks that share it");
        require(loaded(tokens, &params.activations, &params.last_activations) == columns * token_chunks, p,
                "every token of a tile is loaded once for the blocks that share it");
    }
}

using Check = void (*)(const Problem&);
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
        for (const auto schedule : {kernels::Schedule::kWhole, kernels::Schedule::kSplit,
                                    kernels::Schedule::kStream, kernels::Schedule::kSplitLast}) {
            for (const int m : {1, 65, 200, 300}) {
                for (const int n : {16, 208, 1040, 5120}) {
                    for (const int k : {16, 144, 1040}) {
                        kChecks[&config - kernels::kGemmConfigs]({config.name, schedule, m, n, k});
                        ++problems;
                    }
                }
            }
        }
    }
    std::printf("%d problems, %d rules broken\n", problems, broken);
}
