// Inputs: normal values, every word that planes can hold, the identity.
#pragma once

#include "grid_stride.cuh"
#include "values.cuh"

namespace nestedfp::kernels {

/// 64 well-mixed bits of a counter (splitmix64).
__device__ inline uint64_t mixed(uint64_t counter) {
    uint64_t z = counter * 0x9e3779b97f4a7c15ull;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
}

/// A standard normal value by Box and Muller.
__device__ inline float normal_of(uint64_t bits) {
    const float u = (static_cast<float>(bits >> 40) + 0.5f) * 0x1p-24f;  // in (0, 1)
    const float v = static_cast<float>(bits & 0xffffff) * 0x1p-24f;
    return sqrtf(-2 * logf(u)) * cospif(2 * v);
}

__device__ inline void fill_normal(const FillNormalParams& p) {
    const uint64_t base = mixed(p.seed + 1);
    for_each(p.count, [&](int64_t i) {
        const float value = p.sigma * normal_of(mixed(base + static_cast<uint64_t>(i)));
        p.out[i] = half_of(fminf(fmaxf(value, -p.limit), p.limit));
    });
}

__device__ inline void fill_eligible(const FillEligibleParams& p) {
    constexpr int64_t kMagnitudes = 0x3f80;
    for_each(p.count, [&](int64_t i) {
        p.out[i] = static_cast<uint16_t>(i % kMagnitudes | i / kMagnitudes % 2 << 15);
    });
}

__device__ inline void fill_identity(const FillIdentityParams& p) {
    for_each(p.m * p.k, [&](int64_t i) { p.x[i] = i % p.k == p.first + i / p.k ? half_of(1) : 0; });
}

}  // namespace nestedfp::kernels
