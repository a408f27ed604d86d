// Runs the epilogue of a warpgroup on a CPU, for every configuration: 128 threads in turn, and stores that read
// shared memory as late as they may. Prints each output that is not the sum times its scales.
#define __device__
#define __forceinline__ inline

#include <ucontext.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <vector>

using std::max;
using std::min;
struct float2 {
    float x, y;
};
static float2 make_float2(float x, float y) { return {x, y}; }
static struct {
    uint32_t x;
} threadIdx, blockIdx;
static float __ldg(const float* value) { return *value; }

constexpr int kThreads = 128;
static unsigned char shared_memory[300 * 1024];

/// Where a thread stands: it runs until it waits for its warp or for all.
struct Thread {
    enum { kRuns, kWaitsForWarp, kWaitsForAll, kHasEnded } state;
    ucontext_t context;
    std::unique_ptr<unsigned char[]> stack;
    uint32_t matrix_row;
    uint32_t fragments[4];
    int matrices;
    bool transposes;
};
static Thread threads[kThreads];
static ucontext_t scheduler;

static Thread& me() { return threads[threadIdx.x % kThreads]; }
static void wait_as(decltype(Thread::state) state) {
    Thread& thread = me();
    thread.state = state;
    swapcontext(&thread.context, &scheduler);
}

struct Store {
    int32_t column, row;
    uint32_t from;
};
static std::vector<Store> stores;
static std::deque<std::vector<Store>> groups;
static void read_box(const Store& store);
static int misaligned = 0;

// The headers of these functions are empty in the copy of kernels/ that this is compiled against.
namespace nestedfp::ptx {
template <int kThreadsOfBarrier>
void barrier_sync(int) {
    static_assert(kThreadsOfBarrier == kThreads);
    wait_as(Thread::kWaitsForAll);
}
inline void fence_proxy_async() {}
inline void prefetch_tensor_map(const void*) {}
inline void store_shared_float(uint32_t at, float value) { std::memcpy(shared_memory + at, &value, 4); }
inline float2 load_shared_float2(uint32_t at) {
    misaligned += at % 8 != 0;
    float2 value;
    std::memcpy(&value, shared_memory + at, 8);
    return value;
}
/// Whole numbers below 2^16 stand for binary16.
inline uint32_t pack_half2(float low, float high) {
    return static_cast<uint32_t>(low) | static_cast<uint32_t>(high) << 16;
}
template <bool kTransposes>
void stmatrix(uint32_t at, int matrices, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    Thread& thread = me();
    thread.matrix_row = at;
    thread.matrices = matrices;
    thread.transposes = kTransposes;
    const uint32_t fragments[] = {a, b, c, d};
    std::copy(fragments, fragments + 4, thread.fragments);
    wait_as(Thread::kWaitsForWarp);
}
template <bool kTransposes>
void stmatrix_x4(uint32_t at, uint32_t a, uint32_t b, uint32_t c, uint32_t d) {
    stmatrix<kTransposes>(at, 4, a, b, c, d);
}
template <bool kTransposes>
void stmatrix_x2(uint32_t at, uint32_t a, uint32_t b) {
    stmatrix<kTransposes>(at, 2, a, b, 0, 0);
}
inline void tma_store(const void*, int32_t column, int32_t row, uint32_t from) {
    misaligned += from % 128 != 0;
    stores.push_back({column, row, from});
}
inline void tma_store_commit() {
    groups.push_back(stores);
    stores.clear();
}
template <int kPending>
void tma_store_wait_read() {
    for (; groups.size() > kPending; groups.pop_front()) {
        for (const Store& store : groups.front()) read_box(store);
    }
}
}  // namespace nestedfp::ptx

#include "gemm/epilogue.cuh"
#include "interface/launch_plan.h"

using namespace nestedfp;

namespace {

kernels::TensorMapSpec out_map;
std::vector<uint16_t> out;

/// stmatrix: lane l gives the row l % 8 of matrix l / 8, and of each matrix elements (l / 4, 2 (l % 4) + e).
void store_matrices(const Thread* warp) {
    for (int matrix = 0; matrix < warp[0].matrices; ++matrix) {
        for (int row = 0; row < 8; ++row) {
            const uint32_t at = warp[matrix * 8 + row].matrix_row;
            misaligned += at % 16 != 0;
            for (int column = 0; column < 8; ++column) {
                const int i = warp[0].transposes ? column : row, j = warp[0].transposes ? row : column;
                const uint32_t pair = warp[i * 4 + j / 2].fragments[matrix];
                const auto value = static_cast<uint16_t>(pair >> 16 * (j % 2));
                std::memcpy(shared_memory + at + 2 * column, &value, 2);
            }
        }
    }
}

/// Lets all threads run to their ends. The last goes first: what the first waits for, it waits for too late.
void run_threads() {
    for (;;) {
        int waiting = 0, ended = 0;
        for (int i = kThreads - 1; i >= 0; --i) {
            Thread& thread = threads[i];
            if (thread.state == Thread::kRuns) {
                threadIdx.x = static_cast<uint32_t>(i);
                swapcontext(&scheduler, &thread.context);
            }
            waiting += thread.state == Thread::kWaitsForAll;
            ended += thread.state == Thread::kHasEnded;
            const bool is_whole_warp =
                i % 32 == 0 && std::all_of(threads + i, threads + i + 32, [](const Thread& one) {
                    return one.state == Thread::kWaitsForWarp;
                });
            if (!is_whole_warp) continue;
            store_matrices(threads + i);
            for (int lane = 0; lane < 32; ++lane) threads[i + lane].state = Thread::kRuns;
        }
        if (ended == kThreads) return;
        if (waiting == kThreads) {
            for (Thread& thread : threads) thread.state = Thread::kRuns;
        }
    }
}

template <kernels::GemmConfig kConfig>
struct Problem {
    const kernels::GemmParams* params;
    int32_t row;
    int row_group;
};

/// What stands for the sum of a row of weights and a token.
int sum_of(int row, int token) { return (row * 31 + token * 17) % 800; }

template <kernels::GemmConfig kConfig>
Problem<kConfig> problem;

/// One thread: all token tiles of a row tile, as a block that goes from tile to tile.
template <kernels::GemmConfig kConfig>
void store_all() {
    const auto& [params, row, row_group] = problem<kConfig>;
    const int thread = static_cast<int>(threadIdx.x);
    gemm::Epilogue<kConfig> epilogue(*params, 1024, row_group);
    for (int tile = 0; tile < params->token_tiles * kConfig.cluster_tokens; ++tile) {
        const int token = tile * kConfig.block_tokens;
        float sums[kConfig.block_tokens / 2];
        for (int i = 0; i < kConfig.block_tokens / 2; ++i) {
            const int j = i / 4, h = i / 2 % 2, e = i % 2;
            sums[i] = static_cast<float>(
                sum_of(row + 16 * (thread / 32) + thread % 32 / 4 + 8 * h, token + 8 * j + 2 * (thread % 4) + e));
        }
        epilogue.prefetch(row, token);
        // The chunks of a tile as two blocks would finish them, shared out differently each time.
        gemm::Exchange<kConfig> first, second;
        first.mine_end = second.mine_begin = tile % (gemm::Exchange<kConfig>::kChunks + 1);
        for (const auto& exchange : {first, second}) {
            if (exchange.has_mine()) epilogue.store(sums, row, token, exchange, 0);
            if (kConfig.stores_in_weights()) epilogue.wait_until_read();
        }
    }
    epilogue.finish();
    wait_as(Thread::kHasEnded);
}

template <kernels::GemmConfig kConfig>
int check(const char* name, int m, int n) {
    const kernels::LaunchPlan plan = kernels::plan_launch(kConfig, kernels::Schedule::kWhole, m, n, 256, 132);
    kernels::GemmParams params = plan.params;
    out_map = plan.out;
    out.assign(static_cast<size_t>(m) * static_cast<size_t>(n), 0xffff);
    std::vector<float> row_scale(static_cast<size_t>(params.n)), token_scale(static_cast<size_t>(params.m), 1.f);
    for (size_t i = 0; i < row_scale.size(); ++i) row_scale[i] = static_cast<float>(i % 7 + 1);
    for (size_t i = 0; kConfig.is_e4m3() && i < token_scale.size(); ++i) {
        token_scale[i] = static_cast<float>(i % 11 + 1);
    }
    params.row_scale = row_scale.data();
    params.token_scale = token_scale.data();
    for (int tile = 0; tile < params.row_tiles * kConfig.cluster_rows; ++tile) {
        for (int group = 0; group < kConfig.row_groups; ++group) {
            problem<kConfig> = {&params, (tile * kConfig.row_groups + group) * 64, group};
            std::memset(shared_memory, 0xee, sizeof shared_memory);
            for (Thread& thread : threads) {
                constexpr size_t kStack = 64 * 1024;
                if (!thread.stack) thread.stack = std::make_unique<unsigned char[]>(kStack);
                getcontext(&thread.context);
                thread.context.uc_stack.ss_sp = thread.stack.get();
                thread.context.uc_stack.ss_size = kStack;
                thread.context.uc_link = nullptr;
                makecontext(&thread.context, store_all<kConfig>, 0);
                thread.state = Thread::kRuns;
            }
            run_threads();
        }
    }
    int wrong = 0;
    for (int i = 0; i < m; ++i) {
        for (int j = 0; j < n; ++j) {
            const int row = kConfig.swaps_operands() ? i : j, token = kConfig.swaps_operands() ? j : i;
            const int expected = sum_of(row, token) * (row % 7 + 1) * (kConfig.is_e4m3() ? token % 11 + 1 : 1);
            const int found = out[static_cast<size_t>(i) * static_cast<size_t>(n) + static_cast<size_t>(j)];
            if (found == expected || ++wrong > 1) continue;
            std::printf("%s, m %d, n %d: out[%d, %d] is %d, not %d\n", name, m, n, i, j, found, expected);
        }
    }
    return wrong;
}

}  // namespace

/// What the copy engine takes to the output: rows of the box, swizzled if they are of 128 bytes.
void read_box(const Store& store) {
    const bool is_swizzled = out_map.box_cols * 2 == 128;
    for (uint32_t i = 0; i < out_map.box_rows; ++i) {
        for (uint32_t j = 0; j < out_map.box_cols; ++j) {
            const uint64_t row = static_cast<uint64_t>(store.row) + i, column = static_cast<uint64_t>(store.column) + j;
            if (row >= out_map.rows || column >= out_map.cols) continue;
            uint32_t at = store.from + i * out_map.box_cols * 2 + 2 * j;
            if (is_swizzled) at ^= (at >> 7 & 7) << 4;
            std::memcpy(&out[row * out_map.cols + column], shared_memory + at, 2);
        }
    }
}

int main() {
    int problems = 0, wrong = 0;
    for (const auto& [m, n] : {std::pair{1, 16}, {200, 208}, {333, 528}}) {
#define NESTEDFP_ROW(name, weights, rows, ks, tokens, stages, weight_stages, cluster_rows, cluster_tokens)  \
    wrong += check<kernels::GemmConfig{nullptr, kernels::Weights::weights, rows, ks, tokens, stages,        \
                                       weight_stages, cluster_rows, cluster_tokens}>(#name, m, n);          \
    ++problems;
        NESTEDFP_GEMM_CONFIGS(NESTEDFP_ROW)
#undef NESTEDFP_ROW
    }
    std::printf("%d problems, %d wrong, %d addresses misaligned\n", problems, wrong, misaligned);
}
