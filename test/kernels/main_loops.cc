// Runs the main loops of a warpgroup on a CPU, for every configuration: products take effect when they are waited
// for, and stages of shared memory are there from when their barrier is waited for until they are given back.
// Prints each rule that is broken.
#define __device__
#define __forceinline__ inline

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <deque>
#include <functional>
#include <type_traits>
#include <vector>

#include "require.h"

struct uint4 {
    uint32_t x, y, z, w;
};
static struct {
    uint32_t x;
} blockIdx, threadIdx;

/// One wgmma: what it reads and where it adds.
struct Product {
    float* sums;
    int count;
    bool accumulates;
    uint64_t tokens;
    /// Addresses of weights in shared memory, or fragments.
    std::vector<uint64_t> weights;
    float value;
};
static std::vector<Product> open, issued;
static std::deque<std::vector<Product>> flying;

static std::function<void(uint32_t, uint32_t)> on_wait;
static std::function<void(uint32_t)> on_arrive;
static std::function<uint4(uint32_t)> read_shared;

static void issue(float* sums, int count, bool accumulates, uint64_t tokens, std::vector<uint64_t> weights) {
    const float value = static_cast<float>(1 + issued.size() % 7);
    open.push_back({sums, count, accumulates, tokens, std::move(weights), value});
    issued.push_back(open.back());
}

// The headers of these functions are empty in the copy of kernels/ that this is compiled against.
namespace nestedfp::ptx {
struct Descriptor {
    uint32_t low;
    explicit Descriptor(uint32_t address) : low(address) {}
    Descriptor operator+(uint32_t bytes) const { return Descriptor(low + bytes); }
    uint64_t at(uint32_t bytes) const { return low + bytes; }
};

template <int kTokens>
struct Wgmma {
    using Sums = float (&)[kTokens / 2];
    static void rs_f16(Sums sums, uint32_t a0, uint32_t a1, uint32_t a2, uint32_t a3, uint64_t b, int accumulate) {
        issue(sums, kTokens / 2, accumulate != 0, b, {a0, a1, a2, a3});
    }
    static void ss_f16(Sums sums, uint64_t a, uint64_t b, int accumulate) {
        issue(sums, kTokens / 2, accumulate != 0, b, {a});
    }
    static void ss_e4m3(Sums sums, uint64_t a, uint64_t b, int accumulate) { ss_f16(sums, a, b, accumulate); }
};

inline void wgmma_fence() {}
inline void wgmma_commit() {
    flying.push_back(open);
    open.clear();
}
template <int kPending>
void wgmma_wait() {
    for (; flying.size() > kPending; flying.pop_front()) {
        for (const Product& p : flying.front()) {
            for (int i = 0; i < p.count; ++i) p.sums[i] = p.accumulates ? p.sums[i] + p.value : p.value;
        }
    }
}
template <int kCount>
void settle(float (&)[kCount]) {}

inline void mbarrier_wait(uint32_t barrier, uint32_t parity) { on_wait(barrier, parity); }
inline void mbarrier_arrive(uint32_t barrier) { on_arrive(barrier); }
inline void mbarrier_arrive_cluster(uint32_t barrier, uint32_t) { on_arrive(barrier); }
template <int kThreads>
void barrier_sync(int) {}
template <int kThreads>
void barrier_arrive(int) {}
inline uint4 load_shared_16(uint32_t at) { return read_shared(at); }

// Not what they compute on a GPU, see rebuild.cc: that each word goes through them once shows all the same.
inline void widen_e4m3x4(uint32_t bytes, uint32_t& low, uint32_t& high) {
    low = (bytes & 0xffff) * 0x9e3779b1u;
    high = (bytes >> 16) * 0x9e3779b1u;
}
template <uint32_t kSelect>
uint32_t permute_bytes(uint32_t x, uint32_t y) {
    return (x ^ kSelect) * 0x85ebca6bu + y;
}
inline uint32_t multiply_half2(uint32_t a, uint32_t b) { return (a ^ a >> 15) * b; }
inline uint32_t add_int16x2(uint32_t a, uint32_t b) { return a + b; }
}  // namespace nestedfp::ptx

#include "gemm/register_weights.cuh"
#include "gemm/shared_weights.cuh"

using namespace nestedfp;

namespace {

struct Problem {
    const char* config;
    int row_group, k_group;
    uint32_t thread;
    int steps;

    void print() const { std::printf("%s, row group %d, K group %d, thread %u, %d steps", config, row_group, k_group, thread, steps); }
};

/// A stage of a ring: how often it was filled, and whether it still is.
struct Stage {
    uint32_t fills = 0;
    bool is_full = false;
};

/// What `word` of 16 bytes at `at` is in the fill of this number.
uint32_t word_of(uint32_t at, int word, uint64_t fill) {
    return static_cast<uint32_t>((at * 4ull + static_cast<uint64_t>(word) + fill * 0x100000001ull) *
                                     0x9e3779b97f4a7c15ull >>
                                 29);
}

template <kernels::GemmConfig kConfig>
class Simulation {
    using Plan = gemm::SharedPlan<kConfig>;

   public:
    explicit Simulation(Problem& problem) : problem_(problem) {
        on_wait = [this](uint32_t barrier, uint32_t parity) {
            Stage& stage = stage_of(barrier, Plan::tokens_full(0), Plan::weights_full(0));
            require(!sees_releases() || !stage.is_full, problem_, "a stage is waited for once, when it was given back");
            require(parity == stage.fills % 2, problem_, "the parity waited for is that of the next fill");
            ++stage.fills;
            stage.is_full = true;
        };
        on_arrive = [this](uint32_t barrier) {
            Stage& stage = stage_of(barrier, Plan::tokens_empty(0), Plan::weights_empty(0));
            require(stage.is_full, problem_, "a stage is given back once");
            stage.is_full = false;
            for (const auto& group : flying) {
                for (const Product& product : group) require(!reads(product, stage), problem_, "what is read stays");
            }
        };
        read_shared = [this](uint32_t at) {
            const Stage& stage = weights_[(at - Plan::plane(0, 0)) / Plan::kWeightStageBytes % kConfig.weight_stages];
            require(stage.is_full, problem_, "weights are read when they are there");
            const uint64_t fill = stage.fills;
            return uint4{word_of(at, 0, fill), word_of(at, 1, fill), word_of(at, 2, fill), word_of(at, 3, fill)};
        };
    }

    void run() {
        using Accumulate =
            std::conditional_t<kConfig.rebuilds(), gemm::RegisterWeights<kConfig>, gemm::SharedWeights<kConfig>>;
        Accumulate accumulate(0, problem_.row_group, problem_.k_group);
        int chunks = 0;
        bool holds = false;
        for (const int steps : {1, 2, 3, 7, 1, 1, 4, 10, 5}) {
            problem_.steps = steps;
            issued.clear();
            float sums[kConfig.block_tokens / 2];
            std::fill(std::begin(sums), std::end(sums), 1e9f);
            int calls = 0;
            accumulate.run(sums, steps, [&] {
                ++calls;
                if (holds) accumulate.give_back();
            });
            require(calls == 1 && open.empty() && flying.empty(), problem_, "a run ends when all is multiplied");
            check_products(chunks, steps * kConfig.token_stages_per_step());
            float total = 0;
            for (const Product& product : issued) total += product.value;
            require(std::all_of(std::begin(sums), std::end(sums), [&](float sum) { return sum == total; }), problem_,
                    "every product is added once");
            chunks += steps * kConfig.token_stages_per_step();
            const bool holds_one = kConfig.stores_in_weights();
            if (sees_releases()) {
                for (const Stage& stage : tokens_) require(!stage.is_full, problem_, "all tokens are given back");
                for (int i = 0; i < kConfig.weight_stages; ++i) {
                    const bool is_held = holds_one && static_cast<uint32_t>(i) == accumulate.held_stage();
                    require(weights_[i].is_full == is_held, problem_, "all weights but what is held are given back");
                }
            }
            // As after a tile that was stored from there, or after one whose sums went to another block.
            holds = steps % 2 == 1;
            if (!holds) accumulate.give_back();
        }
    }

   private:
    /// One lane of a warp gives stages back.
    bool sees_releases() const { return problem_.thread % 32 == 0; }

    Stage& stage_of(uint32_t barrier, int tokens, int weights) {
        const int token_stage = (static_cast<int>(barrier) - tokens) / 8;
        const int weight_stage = (static_cast<int>(barrier) - weights) / 8;
        if (token_stage >= 0 && token_stage < kConfig.stages) return tokens_[token_stage];
        const bool is_known = weight_stage >= 0 && weight_stage < kConfig.weight_stages;
        require(is_known, problem_, "a barrier is one of a stage");
        return weights_[is_known ? weight_stage : 0];
    }

    bool reads(const Product& product, const Stage& stage) const {
        const uint64_t token_stage = product.tokens / Plan::kStageBytes;
        if (&stage == &tokens_[token_stage % kConfig.stages]) return true;
        if (kConfig.rebuilds()) return false;
        const uint64_t weight_stage = (product.weights[0] - Plan::plane(0, 0)) / Plan::kWeightStageBytes;
        return &stage == &weights_[weight_stage % kConfig.weight_stages];
    }

    /// Each chunk is multiplied once and in order, from the places that loads.cc has them loaded to.
    void check_products(int first, int chunks) {
        require(issued.size() == static_cast<size_t>(4 * chunks), problem_, "a chunk is four products");
        for (size_t at = 0; at < issued.size(); ++at) {
            const int chunk = first + static_cast<int>(at) / 4, j = static_cast<int>(at) % 4;
            const Product& product = issued[at];
            const auto tokens = static_cast<uint64_t>(Plan::tokens(problem_.k_group) +
                                                      chunk % kConfig.stages * Plan::kStageBytes + 32 * j);
            require(product.tokens == tokens, problem_, "the tokens are those of the chunk");
            require(product.weights == expected_weights(chunk, j), problem_, "the weights are those of the chunk");
        }
    }

    std::vector<uint64_t> expected_weights(int chunk, int j) const {
        if (!kConfig.rebuilds()) {
            return {static_cast<uint64_t>(Plan::plane(0, problem_.k_group) + problem_.row_group * 64 * 128 +
                                          chunk % kConfig.weight_stages * Plan::kWeightStageBytes + 32 * j)};
        }
        // A row of 128 bytes is two chunks: of one warpgroup one after the other, or of two.
        const bool takes_both = kConfig.k_groups == 1;
        const int number = takes_both ? chunk / 2 : chunk;
        const int half = takes_both ? chunk % 2 : problem_.k_group % 2;
        const int base = Plan::plane(0, problem_.k_group / 2) + number % kConfig.weight_stages * Plan::kWeightStageBytes;
        const uint64_t fill = static_cast<uint64_t>(number / kConfig.weight_stages) + 1;
        std::vector<uint64_t> fragments(4);
        for (int h = 0; h < 2; ++h) {
            const int row = problem_.row_group * 64 + static_cast<int>(problem_.thread) / 32 % 4 * 16 +
                            static_cast<int>(problem_.thread) % 32 / 4 + 8 * h;
            const int piece = (static_cast<int>(problem_.thread) % 4 * 2 + half) ^ row % 8;
            const auto at = static_cast<uint32_t>(base + row * 128 + piece * 16);
            const uint32_t upper = word_of(at, j, fill);
            uint32_t low, high;
            if (kConfig.planes() == 2) {
                const auto of_lower = static_cast<uint32_t>(Plan::plane(1, 0) - Plan::plane(0, 0));
                nested::rebuild(upper, word_of(at + of_lower, j, fill), low, high);
            } else {
                ptx::widen_e4m3x4(upper, low, high);
            }
            fragments[static_cast<size_t>(h)] = low;
            fragments[static_cast<size_t>(2 + h)] = high;
        }
        return fragments;
    }

    Problem& problem_;
    Stage tokens_[kConfig.stages];
    Stage weights_[kConfig.weight_stages];
};

template <kernels::GemmConfig kConfig>
int check(const char* name) {
    int problems = 0;
    for (int row_group = 0; row_group < kConfig.row_groups; ++row_group) {
        for (int k_group = 0; k_group < kConfig.k_groups; ++k_group) {
            for (const uint32_t lane_of_warp : {0u, 32u, 77u}) {
                Problem problem{name, row_group, k_group, lane_of_warp, 0};
                threadIdx.x = lane_of_warp;
                Simulation<kConfig>(problem).run();
                ++problems;
            }
        }
    }
    return problems;
}

}  // namespace

int main() {
    int problems = 0;
#define NESTEDFP_ROW(name, weights, rows, ks, tokens, stages, weight_stages, cluster_rows, cluster_tokens)     \
    problems += check<kernels::GemmConfig{nullptr, kernels::Weights::weights, rows, ks, tokens, stages,        \
                                          weight_stages, cluster_rows, cluster_tokens}>(#name);
    NESTEDFP_GEMM_CONFIGS(NESTEDFP_ROW)
#undef NESTEDFP_ROW
    std::printf("%d warpgroups, %d rules broken\n", problems, broken);
}
