// Runs whole blocks of every configuration on a CPU: every warp is a routine that runs until it waits, copies arrive
// and stores are read in any order, the grid before ends at any time, and what may run next is chosen at random. Prints
// each problem in which some warp waits for ever, leaves a barrier behind that another block may still arrive at, or
// something is loaded or written where it is still read.
#define __device__
#define __forceinline__ inline
#define __shared__

#include <ucontext.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "require.h"

struct uint4 {
    uint32_t x, y, z, w;
};
struct float2 {
    float x, y;
};
struct float4 {
    float x, y, z, w;
};
static uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) { return {x, y, z, w}; }
static float2 make_float2(float x, float y) { return {x, y}; }
static struct {
    uint32_t x;
} threadIdx, blockIdx, gridDim;
using std::max;
using std::min;

/// The first lane of a warp of a block. It waits while `is_ready` is false.
struct Warp {
    uint32_t block, thread;
    std::function<bool()> is_ready;
    bool has_ended = false;
    ucontext_t context;
    std::unique_ptr<unsigned char[]> stack;
};
static ucontext_t scheduler;
static Warp* running;

static void wait_until(std::function<bool()> is_ready) {
    while (!is_ready()) {
        running->is_ready = is_ready;
        swapcontext(&running->context, &scheduler);
    }
}

/// A barrier in shared memory.
struct Mbarrier {
    int arrivals = 0, missing = 0;
    int64_t bytes = 0;
    uint32_t phase = 0;

    void settle() {
        if (missing > 0 || bytes != 0) return;
        missing = arrivals;
        ++phase;
    }
};
/// A barrier of the hardware, or of a cluster, counted in warps.
struct Named {
    int arrived = 0;
    uint32_t phase = 0;
};
struct Block {
    std::map<uint32_t, Mbarrier> mbarriers;
    std::map<int, Named> named;
    std::map<uint32_t, uint32_t> words;
    /// Where what a store is to read has been written, and no store has begun.
    std::set<uint32_t> unread;
    /// By its warp, pieces of weights that it has read.
    std::map<uint32_t, int> weights_read;
    int warps_left = 0;
};
static std::vector<Block> blocks;
static std::map<uint32_t, Named> of_cluster;
static std::vector<std::function<void()>> copies;
static int cluster_size, warps_of_block;
/// Blocks of the cluster that `barrier` of a stage is given back to, by the rank of the one that does.
static std::function<std::vector<uint32_t>(uint32_t barrier, uint32_t rank)> sharers;
static bool has_left_early;

/// A store that has not read all of its buffer. Those of a thread are in groups, of which it commits one after the
/// other.
struct Store {
    uint32_t block, thread, from, group;
};
static std::vector<Store> stores;
static std::map<std::pair<uint32_t, uint32_t>, uint32_t> groups_committed;
static uint32_t groups_of(const Store& store) { return groups_committed[{store.block, store.thread}]; }
/// What the present configuration has, in bytes from the start of shared memory.
static uint32_t buffer_bytes, weights_begin, weights_end;
static bool previous_grid_has_ended;
/// Rules that a block breaks, by their names.
static std::set<const char*> violated;
static void must(bool holds, const char* rule) {
    if (!holds) violated.insert(rule);
}
static bool overlaps(uint32_t one, uint32_t bytes, uint32_t other, uint32_t other_bytes) {
    return one < other + other_bytes && other < one + bytes;
}

static Block& me() { return blocks[blockIdx.x]; }
static void arrive(uint32_t block, uint32_t barrier, int64_t bytes, int count) {
    has_left_early |= blocks[block].warps_left == 0;
    must(blocks[block].mbarriers.count(barrier) > 0, "nobody arrives at a barrier before it is initialised");
    Mbarrier& b = blocks[block].mbarriers[barrier];
    b.bytes += bytes;
    b.missing -= count;
    b.settle();
}

static uint32_t __shfl_sync(uint32_t, uint32_t value, int) { return value; }
static void __syncwarp() {}
/// Sums that blocks have left for others.
static uint64_t quads_left = 0;
static bool __all_sync(uint32_t, bool holds) {
    if (!holds) wait_until([seen = quads_left] { return quads_left != seen; });
    return holds;
}
static float __uint_as_float(uint32_t bits) { return std::bit_cast<float>(bits); }
static float __ldg(const float*) { return 1; }

// The headers of these functions are empty in the copy of kernels/ that this is compiled against.
namespace nestedfp::ptx {
inline constexpr uint64_t kEvictNormal = 0, kEvictFirst = 1, kEvictLast = 2;
inline uint32_t shared_address(const void*) { return 0; }
inline void prefetch_tensor_map(const void*) {}
inline void launch_next_grid() {}
inline void wait_for_previous_grid() {
    wait_until([] { return previous_grid_has_ended; });
}
template <int kRegisters>
void give_registers() {}
template <int kRegisters>
void take_registers() {}

inline void mbarrier_init(uint32_t barrier, uint32_t count) {
    me().mbarriers[barrier] = {.arrivals = static_cast<int>(count), .missing = static_cast<int>(count)};
}
inline void fence_mbarrier_init() {}
inline void fence_proxy_async() {}
inline void mbarrier_arrive_expect_tx(uint32_t barrier, uint32_t bytes) { arrive(blockIdx.x, barrier, bytes, 1); }
inline void mbarrier_arrive(uint32_t barrier) { arrive(blockIdx.x, barrier, 0, 1); }
inline void mbarrier_arrive_cluster(uint32_t barrier, uint32_t) {
    // Each lane tells one block; this one stands for all.
    const uint32_t rank = blockIdx.x % static_cast<uint32_t>(cluster_size);
    for (const uint32_t other : sharers(barrier, rank)) arrive(blockIdx.x - rank + other, barrier, 0, 1);
}
inline void mbarrier_wait(uint32_t barrier, uint32_t parity) {
    const Mbarrier& b = me().mbarriers.at(barrier);
    wait_until([&b, parity] { return b.phase % 2 != parity; });
}
inline void arrive_named(Named& barrier, int warps) {
    if (++barrier.arrived < warps) return;
    barrier.arrived = 0;
    ++barrier.phase;
}
template <int kThreads>
void barrier_arrive(int id) {
    arrive_named(me().named[id], kThreads / 32);
}
template <int kThreads>
void barrier_sync(int id) {
    Named& barrier = me().named[id];
    const uint32_t phase = barrier.phase;
    barrier_arrive<kThreads>(id);
    wait_until([&barrier, phase] { return barrier.phase != phase; });
}
static Named& cluster_barrier() { return of_cluster[blockIdx.x / static_cast<uint32_t>(cluster_size)]; }
inline void cluster_arrive() {
    const uint32_t phase = cluster_barrier().phase;
    arrive_named(cluster_barrier(), cluster_size * warps_of_block);
    running->is_ready = [&barrier = cluster_barrier(), phase] { return barrier.phase != phase; };
}
inline void cluster_wait() { wait_until(running->is_ready); }

inline void tma_load_multicast(uint32_t at, const void* map, int32_t, int32_t, uint32_t barrier, uint16_t to,
                               uint64_t) {
    const uint32_t first = blockIdx.x - blockIdx.x % static_cast<uint32_t>(cluster_size), own = blockIdx.x;
    uint32_t copied[2];
    __builtin_memcpy(copied, map, sizeof copied);
    const auto [bytes, is_activations] = copied;
    if (is_activations != 0) must(previous_grid_has_ended, "activations are loaded when the grid before has ended");
    for (uint32_t rank = 0; rank < 16; ++rank) {
        if (to == 0 ? first + rank != own : (to >> rank & 1) == 0) continue;
        const uint32_t block = first + rank;
        for (const Store& store : stores) {
            must(store.block != block || !overlaps(at, bytes, store.from, buffer_bytes),
                 "nothing is loaded where a store reads");
        }
        for (const uint32_t place : blocks[block].unread) {
            must(!overlaps(at, bytes, place, 1), "nothing is loaded where a store will read");
        }
        copies.push_back([=] { arrive(first + rank, barrier, -static_cast<int64_t>(bytes), 0); });
    }
}
inline void tma_load(uint32_t to, const void* map, int32_t column, int32_t row, uint32_t barrier, uint64_t policy) {
    tma_load_multicast(to, map, column, row, barrier, 0, policy);
}
inline void tma_store(const void*, int32_t, int32_t, uint32_t from) {
    must(previous_grid_has_ended, "outputs are stored when the grid before has ended");
    std::erase_if(me().unread, [=](uint32_t place) { return overlaps(place, 1, from, buffer_bytes); });
    stores.push_back({blockIdx.x, threadIdx.x, from, groups_committed[{blockIdx.x, threadIdx.x}]});
}
inline void tma_store_commit() { ++groups_committed[{blockIdx.x, threadIdx.x}]; }
template <int kPending>
void tma_store_wait_read() {
    wait_until([block = blockIdx.x, thread = threadIdx.x] {
        return std::none_of(stores.begin(), stores.end(), [=](const Store& store) {
            return store.block == block && store.thread == thread && store.group + kPending < groups_of(store);
        });
    });
}

inline uint64_t load_relaxed(const uint64_t* word) {
    must(previous_grid_has_ended, "launches are counted when the grid before has ended");
    return *word;
}
inline void add_relaxed(uint64_t* word, uint64_t value) { *word += value; }
template <typename Quad>
void store_relaxed_16(Quad* to, uint4 value) {
    *to = {{value.x, value.y, value.z}, value.w};
    ++quads_left;
}
template <typename Quad>
uint4 load_relaxed_16(const Quad* from) {
    return {from->sums[0], from->sums[1], from->sums[2], from->launch};
}
inline void store_shared(uint32_t at, uint32_t value) { me().words[at] = value; }
inline uint32_t load_shared(uint32_t at) { return me().words.at(at); }
inline void store_shared_float(uint32_t, float) {}
inline float2 load_shared_float2(uint32_t) { return {1, 1}; }
inline float4 load_shared_float4(uint32_t) { return {}; }
inline void store_shared_16(uint32_t, float, float, float, float) {}
inline uint4 load_shared_16(uint32_t) {
    ++me().weights_read[threadIdx.x / 32];
    return {};
}
static void write_output(uint32_t at) {
    for (const Store& store : stores) {
        must(store.block != blockIdx.x || !overlaps(at, 1, store.from, buffer_bytes),
             "no buffer is written while a store reads it");
    }
    if (weights_begin <= at && at < weights_end) {
        const uint32_t warp = threadIdx.x / 32, first = warp - warp % 4;
        for (uint32_t other = first; other < first + 4; ++other) {
            must(me().weights_read[other] >= me().weights_read[warp],
                 "weights are written over when all warps of the group have read them");
        }
    }
    me().unread.insert(at);
}
template <bool kTransposed>
void stmatrix_x4(uint32_t at, uint32_t, uint32_t, uint32_t, uint32_t) {
    write_output(at);
}
template <bool kTransposed>
void stmatrix_x2(uint32_t at, uint32_t, uint32_t) {
    write_output(at);
}
inline uint32_t pack_half2(float, float) { return 0; }
template <uint32_t kSelect>
uint32_t permute_bytes(uint32_t, uint32_t) {
    return 0;
}
template <uint32_t kSelect>
uint32_t permute_sums(float, float) {
    return 0;
}
inline void widen_e4m3x4(uint32_t, uint32_t& low, uint32_t& high) { low = high = 0; }
inline uint32_t multiply_half2(uint32_t, uint32_t) { return 0; }
inline uint32_t add_int16x2(uint32_t, uint32_t) { return 0; }

struct Descriptor {
    explicit Descriptor(uint32_t) {}
    Descriptor operator+(uint32_t) const { return *this; }
    uint64_t at(uint32_t) const { return 0; }
};
template <int kTokens>
struct Wgmma {
    using Sums = float (&)[kTokens / 2];
    static void rs_f16(Sums, uint32_t, uint32_t, uint32_t, uint32_t, uint64_t, int) {}
    static void ss_f16(Sums, uint64_t, uint64_t, int) {}
    static void ss_e4m3(Sums, uint64_t, uint64_t, int) {}
};
inline void wgmma_fence() {}
inline void wgmma_commit() {}
template <int kPending>
void wgmma_wait() {}
template <int kCount>
void settle(float (&)[kCount]) {}
}  // namespace nestedfp::ptx

#include "gemm/kernel.cuh"
#include "interface/launch_plan.h"

namespace nestedfp::gemm {
unsigned char dynamic_shared[1];
}

using namespace nestedfp;

namespace {

// Each row of the table by its name.
namespace configs {
#define NESTEDFP_ROW(name, weights, rows, ks, tokens, stages, weight_stages, cluster_rows, cluster_tokens)       \
    constexpr kernels::GemmConfig name{nullptr, kernels::Weights::weights, rows, ks, tokens, stages, weight_stages, \
                                       cluster_rows, cluster_tokens};
NESTEDFP_GEMM_CONFIGS(NESTEDFP_ROW)
#undef NESTEDFP_ROW
}  // namespace configs

struct Problem {
    const char* config;
    kernels::Schedule schedule;
    int m, n, k, sm_count;
    unsigned seed;

    void print() const {
        std::printf("%s, schedule %d, m %d, n %d, k %d, %d SMs, seed %u", config, static_cast<int>(schedule), m, n, k,
                    sm_count, seed);
    }
};

/// What a copy by this map brings, and whether it is of activations, where the map itself would be.
void write_map(kernels::TensorMap& map, const kernels::TensorMapSpec& spec, bool is_activations) {
    const uint32_t bytes = spec.box_rows * spec.box_cols * (spec.type == kernels::ElementType::kFloat16 ? 2 : 1);
    const uint32_t copied[2] = {bytes, is_activations};
    __builtin_memcpy(map.bytes, copied, sizeof copied);
}

std::function<void()> body;
void start() {
    body();
    running->has_ended = true;
    --me().warps_left;
    swapcontext(&running->context, &scheduler);
}

constexpr size_t kStackBytes = 128 << 10;

template <kernels::GemmConfig kConfig>
void check(const Problem& p) {
    kernels::LaunchPlan plan = kernels::plan_launch(kConfig, p.schedule, p.m, p.n, p.k, p.sm_count);
    kernels::GemmParams& params = plan.params;
    constexpr bool kSwaps = kConfig.swaps_operands();
    write_map(params.weights, plan.weights, kSwaps);
    write_map(params.last_weights, plan.last_weights, kSwaps);
    write_map(params.lower, plan.lower, false);
    write_map(params.activations, plan.activations, !kSwaps);
    write_map(params.last_activations, plan.last_activations, !kSwaps);
    std::vector<kernels::Quad> partials(plan.partials_bytes / sizeof(kernels::Quad));
    uint64_t launches = 0;
    params.partials = partials.data();
    params.launches = &launches;

    gridDim.x = plan.grid;
    cluster_size = kConfig.cluster();
    warps_of_block = kConfig.threads() / 32;
    sharers = [](uint32_t barrier, uint32_t rank) {
        using Plan = gemm::SharedPlan<kConfig>;
        const bool is_tokens = barrier < static_cast<uint32_t>(Plan::weights_full(0));
        std::vector<uint32_t> found;
        for (uint32_t other = 0; other < kConfig.cluster(); ++other) {
            const bool shares = is_tokens ? other / kConfig.cluster_rows == rank / kConfig.cluster_rows
                                          : other % kConfig.cluster_rows == rank % kConfig.cluster_rows;
            if (shares) found.push_back(other);
        }
        return found;
    };
    buffer_bytes = kConfig.store_tokens() * 128;
    weights_begin = gemm::SharedPlan<kConfig>::plane(0, 0);
    weights_end = gemm::SharedPlan<kConfig>::kStore;
    stores.clear();
    groups_committed.clear();
    previous_grid_has_ended = false;
    violated.clear();
    blocks.assign(plan.grid, {});
    of_cluster.clear();
    copies.clear();
    has_left_early = false;
    body = [&params] { gemm::gemm<kConfig>(params); };
    std::vector<Warp> warps(plan.grid * static_cast<size_t>(warps_of_block));
    for (size_t i = 0; i < warps.size(); ++i) {
        Warp& warp = warps[i];
        warp.block = static_cast<uint32_t>(i) / warps_of_block;
        warp.thread = static_cast<uint32_t>(i) % warps_of_block * 32;
        warp.is_ready = [] { return true; };
        warp.stack = std::make_unique<unsigned char[]>(kStackBytes);
        getcontext(&warp.context);
        warp.context.uc_stack = {.ss_sp = warp.stack.get(), .ss_flags = 0, .ss_size = kStackBytes};
        makecontext(&warp.context, start, 0);
        ++blocks[warp.block].warps_left;
    }

    std::mt19937 random(p.seed);
    size_t left = warps.size();
    while (left > 0) {
        // One of those that may go on, from a place chosen at random.
        bool moved = false;
        if (!copies.empty() && random() % 2 == 0) {
            std::swap(copies[random() % copies.size()], copies.back());
            const auto copy = std::move(copies.back());
            copies.pop_back();
            copy();
            moved = true;
        }
        if (!stores.empty() && random() % 4 == 0) {
            std::swap(stores[random() % stores.size()], stores.back());
            if (stores.back().group < groups_of(stores.back())) {
                stores.pop_back();
                moved = true;
            }
        }
        if (random() % 4096 == 0) previous_grid_has_ended = moved = true;
        const size_t first = random() % warps.size();
        for (size_t i = 0; i < warps.size() && !moved; ++i) {
            Warp& warp = warps[(first + i) % warps.size()];
            if (warp.has_ended || !warp.is_ready()) continue;
            running = &warp;
            blockIdx.x = warp.block;
            threadIdx.x = warp.thread;
            swapcontext(&scheduler, &warp.context);
            left -= warp.has_ended;
            moved = true;
        }
        if (moved || !copies.empty()) continue;
        const bool reads = std::any_of(stores.begin(), stores.end(),
                                       [](const Store& store) { return store.group < groups_of(store); });
        if (previous_grid_has_ended && !reads) break;
        previous_grid_has_ended = true;
    }
    for (const char* rule : violated) require(false, p, rule);
    require(left == 0, p, "no warp waits for ever");
    require(!has_left_early, p, "nobody arrives at a barrier of a block that has left");
    for (const Block& block : blocks) {
        for (const auto& [id, barrier] : block.named) {
            require(barrier.arrived == 0, p, "no barrier is left with threads that have arrived");
        }
    }
}

}  // namespace

int main() {
    int problems = 0;
    const auto run = [&](const char* name, const kernels::GemmConfig& config, void (*check_one)(const Problem&)) {
        std::mt19937 random(static_cast<unsigned>(problems));
        const auto up_to = [&](int most) { return 1 + static_cast<int>(random() % static_cast<unsigned>(most)); };
        // Up to three clusters' tiles in each direction, and up to 24 or 4 steps along K.
        int rows = config.block_rows() * config.cluster_rows, tokens = config.block_tokens * config.cluster_tokens;
        if (config.swaps_operands()) std::swap(rows, tokens);
        for (int i = 0; i < 24; ++i) {
            const int m = i % 4 == 0 ? 1 : up_to(3 * tokens), n = 16 * up_to((3 * rows + 15) / 16);
            const int k = 16 * up_to((i % 2 == 0 ? 24 : 4) * config.block_k() / 16);
            check_one({name, static_cast<kernels::Schedule>(random() % 4), m, n, k, config.cluster() * up_to(4),
                       static_cast<unsigned>(random())});
            ++problems;
        }
    };
#define NESTEDFP_ROW(name, ...) run(#name, configs::name, check<configs::name>);
    NESTEDFP_GEMM_CONFIGS(NESTEDFP_ROW)
#undef NESTEDFP_ROW
    std::printf("%d problems, %d rules broken\n", problems, broken);
}
