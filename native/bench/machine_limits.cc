#include "bench/machine_limits.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace nestedfp::bench {
namespace {

using Clock = std::chrono::steady_clock;

/// Chains of dependent multiply-adds: more than the latency of one hides. Each begins with its own value, or
/// the compiler makes one of them all.
constexpr int kChains = 12;
constexpr int kSteps = 400'000;

volatile float sink;

#if defined(__x86_64__)
__attribute__((target("avx512f"))) void multiply_add_512() {
    __m512 sums[kChains];
    for (int n = 0; n < kChains; ++n) sums[n] = _mm512_set1_ps(static_cast<float>(n));
    const __m512 factor = _mm512_set1_ps(0.5F);
    for (int step = 0; step < kSteps; ++step) {
#pragma GCC unroll 12
        for (int n = 0; n < kChains; ++n) sums[n] = _mm512_fmadd_ps(sums[n], factor, factor);
    }
    for (const __m512& sum : sums) sink = _mm512_cvtss_f32(sum);
}

__attribute__((target("avx2,fma"))) void multiply_add_256() {
    __m256 sums[kChains];
    for (int n = 0; n < kChains; ++n) sums[n] = _mm256_set1_ps(static_cast<float>(n));
    const __m256 factor = _mm256_set1_ps(0.5F);
    for (int step = 0; step < kSteps; ++step) {
#pragma GCC unroll 12
        for (int n = 0; n < kChains; ++n) sums[n] = _mm256_fmadd_ps(sums[n], factor, factor);
    }
    for (const __m256& sum : sums) sink = _mm256_cvtss_f32(sum);
}
#endif

void multiply_add_1() {
    float sums[kChains];
    for (int n = 0; n < kChains; ++n) sums[n] = static_cast<float>(n);
    for (int step = 0; step < kSteps; ++step) {
        for (float& sum : sums) sum = std::fma(sum, 0.5F, 0.5F);
    }
    for (const float sum : sums) sink = sum;
}

struct Loop {
    void (*run)();
    int lanes;
};

Loop loop_of(std::string_view implementation) {
#if defined(__x86_64__)
    if (implementation == "avx512") return {multiply_add_512, 16};
    if (implementation == "avx2") return {multiply_add_256, 8};
#endif
    return {multiply_add_1, 1};
}

using Line = uint64_t __attribute__((vector_size(64), aligned(16)));

/// Four streams at a time, prefetched as far as the dot kernel does: one stream leaves the memory waiting.
constexpr size_t kStreams = 4;
constexpr size_t kPrefetchLines = 256;

uint64_t sum_of(const Line* lines, size_t count) {
    Line sum = {};
    for (size_t n = 0; n < count / kStreams; ++n) {
        for (size_t stream = 0; stream < kStreams; ++stream) {
            const Line* line = lines + stream * (count / kStreams) + n;
            __builtin_prefetch(line + kPrefetchLines);
            sum ^= *line;
        }
    }
    return sum[0] ^ sum[7];
}

}  // namespace

double fma_gflops(cpu::Team& team, std::string_view implementation) {
    const Loop loop = loop_of(implementation);
    const size_t pieces = team.threads() * 8;
    const auto start = Clock::now();
    team.run(pieces, [&](size_t, size_t) { loop.run(); });
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    return 2.0 * kChains * kSteps * loop.lanes * static_cast<double>(pieces) / seconds / 1e9;
}

double read_gigabytes(cpu::Team& team, const std::vector<uint16_t>& words) {
    constexpr size_t kPieceLines = 1 << 15;
    const auto* lines = reinterpret_cast<const Line*>(words.data());
    const size_t count = words.size() * sizeof(uint16_t) / sizeof(Line);
    std::atomic<uint64_t> sum = 0;
    const auto start = Clock::now();
    team.run(count / kPieceLines,
             [&](size_t piece, size_t) { sum += sum_of(lines + piece * kPieceLines, kPieceLines); });
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    sink = static_cast<float>(sum);
    return static_cast<double>(count / kPieceLines * kPieceLines * sizeof(Line)) / seconds / 1e9;
}

}  // namespace nestedfp::bench
