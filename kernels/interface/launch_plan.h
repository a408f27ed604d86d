// From a configuration and a problem to everything a launch needs; pure arithmetic, no driver.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "configs.h"
#include "params.h"
#include "planes.h"

namespace nestedfp::kernels {

/// How tiles are shared out to the clusters of the grid.
enum class Schedule : int32_t {
    /// Each tile goes to one cluster.
    kWhole,
    /// The tiles of the last, partial wave are cut into equal parts: all blocks stay at the same K and share
    /// the L2.
    kSplit,
    /// Stream-K: the last waves are cut at any step, so that all clusters end together, each at a K of its
    /// own.
    kStream,
    /// As kSplit, with the cut tiles after the whole ones: their weights are loaded while others
    /// multiply, not all at once.
    kSplitLast,
};

enum class ElementType : int32_t { kUint8, kFloat16 };

/// A row-major matrix and the box of it that one copy moves, swizzled when it is 128 bytes wide; column
/// counts are elements, the pitch is bytes.
struct TensorMapSpec {
    ElementType type;
    uint64_t cols;
    uint64_t rows;
    uint64_t pitch;
    uint32_t box_cols;
    uint32_t box_rows;
    /// What the L2 fetches at least: 256 bytes for weights that are streamed, 128 otherwise.
    uint32_t l2_promotion;
};

struct LaunchPlan {
    uint32_t grid;
    uint32_t block;
    uint32_t cluster;
    uint32_t shared_bytes;
    size_t partials_bytes;
    TensorMapSpec weights;
    /// No rows: the weights have one plane.
    TensorMapSpec lower;
    TensorMapSpec activations;
    TensorMapSpec last_weights;
    TensorMapSpec last_activations;
    TensorMapSpec out;
    /// With the scalars set; pointers and maps are the caller's.
    GemmParams params;
};

/// The box of the rows that are left behind the last whole one; the same where none are.
constexpr TensorMapSpec last_box(TensorMapSpec spec) {
    const uint64_t left = spec.rows % spec.box_rows;
    if (left > 0) spec.box_rows = static_cast<uint32_t>(left);
    return spec;
}

/// From so many tokens on, blocks wait for the tensor cores more than for the memory, and fetching ahead of
/// them costs (measured: 1.01 to 1.02 times the time at 256 tokens; less ahead, 1.03 times at 128).
constexpr int32_t kTokensWithoutPromotion = 256;

constexpr int32_t ceil_div(int32_t a, int32_t b) { return (a + b - 1) / b; }

/// What an exchange costs in stages of tokens, times 1.1 for two parts. (Measured: with 4, which cuts into
/// more parts, kernels take up to 1.04 times as long.)
constexpr double kExchangeStages = 7;

/// How many parts end the last wave soonest: `rest` tiles of p parts take ceil(rest * p / clusters) rounds of
/// 1 / p of a tile's time, and in each round partial sums are exchanged. 0: whole tiles are better.
/// @param exchange_steps lost with each round; more parts wait for more blocks. Never more parts than
/// clusters: as many end sooner.
constexpr int32_t parts_of_last_wave(int32_t rest, int32_t clusters, int32_t k_tiles, double exchange_steps) {
    double best = k_tiles;
    int32_t best_parts = 0;
    for (int32_t parts = 2; parts <= 16 && parts * 2 <= k_tiles; ++parts) {
        const int32_t rounds = ceil_div(rest * parts, clusters);
        const double time =
            rounds * (static_cast<double>(k_tiles) / parts + exchange_steps * (0.7 + 0.2 * parts));
        if (time < best) {
            best = time;
            best_parts = parts;
        }
    }
    return best_parts;
}

/// @param n, k multiples of 16. @param sm_count of the device: the grid is one resident block per SM at most.
inline LaunchPlan plan_launch(const GemmConfig& config, Schedule schedule, int32_t m, int32_t n, int32_t k,
                              int32_t sm_count) {
    const uint64_t out_rows = static_cast<uint64_t>(m), out_cols = static_cast<uint64_t>(n);
    if (config.swaps_operands()) std::swap(m, n);
    LaunchPlan plan{};
    const int32_t clusters = sm_count / config.cluster();
    GemmParams& p = plan.params;
    p.m = m;
    p.n = n;
    p.k_tiles = ceil_div(k, config.block_k());
    p.row_tiles = ceil_div(n, config.block_rows() * config.cluster_rows);
    p.token_tiles = ceil_div(m, config.block_tokens * config.cluster_tokens);
    p.group_tokens = p.token_tiles < 8 ? p.token_tiles : 8;
    p.weights_stream = (config.swaps_operands() ? p.row_tiles : p.token_tiles) == 1;
    p.lower_groups = static_cast<int32_t>(padded_k(static_cast<uint64_t>(k)) / 128);

    const int32_t tiles = p.row_tiles * p.token_tiles;
    const int64_t steps = static_cast<int64_t>(tiles) * p.k_tiles;
    const int32_t rest = tiles % clusters;
    int32_t used = tiles < clusters ? tiles : clusters;
    int32_t slots = 0;
    if ((schedule == Schedule::kSplit || schedule == Schedule::kSplitLast) && rest > 0) {
        p.parts =
            parts_of_last_wave(rest, clusters, p.k_tiles, kExchangeStages / config.token_stages_per_step());
        p.cut_tiles = p.parts > 0 ? rest : 0;
        slots = p.cut_tiles * p.parts;
        if (slots > used) used = slots < clusters ? slots : clusters;
    }
    if (schedule == Schedule::kStream && rest > 0) {
        // With one to two tiles' worth of steps per cluster, a tile is cut once and its first part waits for
        // nobody.
        used = steps < clusters ? static_cast<int32_t>(steps) : clusters;
        p.cut_tiles = tiles < clusters ? tiles : rest + clusters;
        slots = used;
        p.share_steps = p.cut_tiles * p.k_tiles / used;
        p.share_rest = p.cut_tiles * p.k_tiles % used;
        p.by_clusters = divisor_of(used);
    }
    const int32_t last_width = p.token_tiles % p.group_tokens;
    p.by_parts = divisor_of(p.parts > 0 ? p.parts : 1);
    p.part_steps = divide(p.k_tiles, p.by_parts).quotient;
    p.part_rest = divide(p.k_tiles, p.by_parts).rest;
    p.by_k_tiles = divisor_of(p.k_tiles);
    p.by_group = divisor_of(p.group_tokens * p.row_tiles);
    p.by_width = divisor_of(p.group_tokens);
    p.by_last_width = divisor_of(last_width > 0 ? last_width : p.group_tokens);
    p.cut_last = schedule == Schedule::kSplitLast;
    plan.grid = static_cast<uint32_t>(used * config.cluster());
    plan.block = static_cast<uint32_t>(config.threads());
    plan.cluster = static_cast<uint32_t>(config.cluster());
    plan.shared_bytes = static_cast<uint32_t>(config.shared_bytes());
    plan.partials_bytes = static_cast<size_t>(slots) * config.cluster() * config.partial_bytes();

    const uint64_t wide_k = static_cast<uint64_t>(k);
    const bool words = config.weights == Weights::kPlain16;
    plan.weights = {words ? ElementType::kFloat16 : ElementType::kUint8,
                    words ? wide_k : padded_k(wide_k),
                    static_cast<uint64_t>(n),
                    words ? 2 * wide_k : padded_k(wide_k),
                    words ? 64u : 128u,
                    static_cast<uint32_t>(config.block_rows() / config.cluster_tokens),
                    config.weights == Weights::kNested16 && m >= kTokensWithoutPromotion ? 128u : 256u};
    if (config.planes() == 2) {
        plan.lower = {ElementType::kUint8,
                      128,
                      lower_plane_bytes(static_cast<uint64_t>(n), wide_k) / 128,
                      128,
                      128,
                      static_cast<uint32_t>(lower_box_rows(config.block_rows() / config.cluster_tokens)),
                      plan.weights.l2_promotion};
    }
    const bool fp8 = config.is_e4m3();
    plan.activations = {fp8 ? ElementType::kUint8 : ElementType::kFloat16,
                        fp8 ? padded_k(wide_k) : wide_k,
                        static_cast<uint64_t>(m),
                        fp8 ? padded_k(wide_k) : 2 * wide_k,
                        fp8 ? 128u : 64u,
                        static_cast<uint32_t>(config.block_tokens / config.cluster_rows),
                        128};
    if (config.swaps_operands()) {
        plan.weights.l2_promotion = 128;
        plan.activations.l2_promotion = 256;
    }
    plan.last_weights = last_box(plan.weights);
    plan.last_activations = last_box(plan.activations);
    const uint32_t stored = static_cast<uint32_t>(config.store_tokens());
    plan.out = {ElementType::kFloat16,
                out_cols,
                out_rows,
                2 * out_cols,
                config.swaps_operands() ? stored : 64,
                config.swaps_operands() ? 64 : stored,
                128};
    return plan;
}

}  // namespace nestedfp::kernels
