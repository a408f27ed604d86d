// Runs the tile order of every configuration for many problems as one thread of a CPU, and every block's
// waiting for partial sums with it. Prints each rule that is broken, and of each problem whether tiles are
// cut into parts.
#define __device__
#define __forceinline__ inline
static struct {
    int x;
} blockIdx;
#include "gemm/tile_order.cuh"

#include <cstdio>
#include <map>
#include <set>
#include <vector>

#include "gemm/exchange.cuh"
#include "interface/launch_plan.h"

using namespace nestedfp;
using gemm::Segment;

namespace {

int broken = 0;

struct Problem {
    const kernels::GemmConfig& config;
    kernels::Schedule schedule;
    int m, n, k, sm_count;
};

void require(bool holds, const Problem& p, const char* rule) {
    if (holds || ++broken > 20) return;
    std::printf("broken: %s: %s, schedule %d, m %d, n %d, k %d, %d SMs\n", rule, p.config.name,
                static_cast<int>(p.schedule), p.m, p.n, p.k, p.sm_count);
}

/// What a cluster does in turn: leave its sums, or wait for those of another.
struct Step {
    bool leaves;
    int slot;
};

/// As consume() of gemm/kernel.cuh treats one segment.
void add_steps(std::vector<Step>& steps, const Segment& s, const kernels::GemmParams& params,
               const kernels::GemmConfig& config, const gemm::TileOrder& order) {
    if (s.k_end - s.k_begin == params.k_tiles) return;
    if (params.parts > 0) {
        const int chunks = config.block_tokens / config.store_tokens();
        const int finishers = params.parts < chunks ? params.parts : chunks;
        const int part = s.slot % params.parts;
        if (finishers > 1 || part > 0) steps.push_back({true, s.slot});
        for (int other = s.slot - part; part < finishers && other < s.slot - part + params.parts; ++other) {
            if (other != s.slot) steps.push_back({false, other});
        }
    } else if (s.k_begin > 0) {
        steps.push_back({true, s.slot});
    } else {
        for (int other = s.slot + 1; other <= order.last_contributor(s.tile); ++other) {
            steps.push_back({false, other});
        }
    }
}

/// The exchange of a segment against the steps that add_steps() found.
template <kernels::GemmConfig kConfig>
bool agrees(const kernels::GemmParams& params, const gemm::TileOrder& order, const Segment& s,
            const std::vector<Step>& steps, std::map<int, std::set<int>>& finished) {
    const gemm::Exchange<kConfig> exchange(params, order, s);
    bool leaves = false;
    std::vector<int> others, others_of_exchange;
    for (const Step& step : steps) {
        if (step.leaves) leaves = true;
        if (!step.leaves) others.push_back(step.slot);
    }
    for (int slot = exchange.first; slot < exchange.end; ++slot) {
        if (slot != exchange.own) others_of_exchange.push_back(slot);
    }
    bool right = exchange.leaves == leaves && others_of_exchange == others;
    for (int chunk = 0; chunk < gemm::Exchange<kConfig>::kChunks; ++chunk) {
        if (!exchange.is_mine(chunk)) continue;
        right = right && finished[s.tile].insert(chunk).second;
    }
    return right;
}

using Agrees = bool (*)(const kernels::GemmParams&, const gemm::TileOrder&, const Segment&,
                        const std::vector<Step>&, std::map<int, std::set<int>>&);
constexpr Agrees kAgrees[] = {
#define NESTEDFP_ROW(name, weights, rows, ks, tokens, stages, weight_stages, cluster_rows, cluster_tokens)  \
    agrees<kernels::GemmConfig{nullptr, kernels::Weights::weights, rows, ks, tokens, stages, weight_stages, \
                               cluster_rows, cluster_tokens}>,
    NESTEDFP_GEMM_CONFIGS(NESTEDFP_ROW)
#undef NESTEDFP_ROW
};

/// Lets every cluster go on as far as it can, until none can. @returns whether all came to their end.
bool all_end(const std::vector<std::vector<Step>>& clusters) {
    std::set<int> left;
    std::vector<size_t> at(clusters.size());
    for (bool moved = true; moved;) {
        moved = false;
        for (size_t c = 0; c < clusters.size(); ++c) {
            for (; at[c] < clusters[c].size(); ++at[c], moved = true) {
                const Step& step = clusters[c][at[c]];
                if (step.leaves) left.insert(step.slot);
                if (!step.leaves && !left.contains(step.slot)) break;
            }
        }
    }
    for (size_t c = 0; c < clusters.size(); ++c) {
        if (at[c] < clusters[c].size()) return false;
    }
    return true;
}

void check(const Problem& p) {
    const kernels::LaunchPlan plan = kernels::plan_launch(p.config, p.schedule, p.m, p.n, p.k, p.sm_count);
    const kernels::GemmParams& params = plan.params;
    const int clusters = static_cast<int>(plan.grid) / p.config.cluster();
    require(clusters > 0 && static_cast<int>(plan.grid) <= p.sm_count, p, "all blocks are resident at once");
    const int tiles = params.row_tiles * params.token_tiles;
    std::vector<std::map<int, int>> covered(static_cast<size_t>(tiles));
    std::vector<std::vector<Step>> steps(static_cast<size_t>(clusters));
    std::set<int> left;
    std::map<int, std::set<int>> finished;
    for (int c = 0; c < clusters; ++c) {
        gemm::TileOrder order(params, c, clusters);
        for (Segment s; order.next(s);) {
            const bool inside = s.tile >= 0 && s.tile < tiles;
            require(inside && s.k_begin >= 0 && s.k_begin < s.k_end && s.k_end <= params.k_tiles, p,
                    "a segment is some steps of a tile");
            if (!inside) return;
            covered[static_cast<size_t>(s.tile)][s.k_begin] = s.k_end;
            std::vector<Step> own;
            add_steps(own, s, params, p.config, order);
            require(kAgrees[&p.config - kernels::kGemmConfigs](params, order, s, own, finished), p,
                    "the exchange is the one that the segment needs");
            steps[static_cast<size_t>(c)].insert(steps[static_cast<size_t>(c)].end(), own.begin(), own.end());
        }
        for (const Step& step : steps[static_cast<size_t>(c)]) {
            const size_t end = static_cast<size_t>(step.slot) + 1;
            require(end * p.config.cluster() * p.config.partial_bytes() <= plan.partials_bytes, p,
                    "the partial sums have room");
            if (step.leaves) require(left.insert(step.slot).second, p, "a slot is written once");
        }
    }
    std::set<std::pair<int, int>> places;
    const gemm::TileOrder order(params, 0, clusters);
    for (int tile = 0; tile < tiles; ++tile) {
        int row, token, end = 0;
        order.coordinates(tile, row, token);
        require(row >= 0 && row < params.row_tiles && token >= 0 && token < params.token_tiles, p,
                "a tile lies in the output");
        places.insert({row, token});
        for (const auto& [from, to] : covered[static_cast<size_t>(tile)]) {
            require(from == end, p, "every step of a tile is done once");
            end = to;
        }
        require(end == params.k_tiles, p, "every tile is done to its end");
        const int chunks = p.config.block_tokens / p.config.store_tokens();
        require(static_cast<int>(finished[tile].size()) == chunks, p, "every chunk of a tile is stored once");
    }
    require(static_cast<int>(places.size()) == tiles, p, "no two tiles are the same");
    require(all_end(steps), p, "no block waits for ever");
    require(params.cut_tiles == 0 || plan.grid * p.config.row_groups <= kernels::kLaunchUnits, p,
            "every row group of a launch counts");
}

}  // namespace

int main() {
    const int ms[] = {1, 65, 300, 1000};
    const int ns[] = {16, 1040, 6160, 10240};
    const int ks[] = {16, 144, 1040, 8192};
    int problems = 0;
    for (const kernels::GemmConfig& config : kernels::kGemmConfigs) {
        for (const auto schedule : {kernels::Schedule::kWhole, kernels::Schedule::kSplit,
                                    kernels::Schedule::kStream, kernels::Schedule::kSplitLast}) {
            for (const int m : ms) {
                for (const int n : ns) {
                    for (const int k : ks) {
                        // An H100 of each kind, and a slice of one.
                        for (const int sm_count : {132, 114, 16}) {
                            check({config, schedule, m, n, k, sm_count});
                            ++problems;
                        }
                        if (schedule != kernels::Schedule::kSplit) continue;
                        const auto plan = kernels::plan_launch(config, schedule, m, n, k, 132);
                        std::printf("%s %d %d %d %d\n", config.name, m, n, k, plan.params.parts > 0);
                    }
                }
            }
        }
    }
    std::printf("%d problems, %d rules broken\n", problems, broken);
}
