// Words to device planes (interface/planes.h) and back.
#pragma once

#include "../interface/ops.h"
#include "../interface/planes.h"
#include "grid_stride.cuh"
#include "layout.cuh"

namespace nestedfp::kernels {

/// E4M3 of 256 times the value.
__device__ inline uint8_t upper_of(uint16_t word) {
    const uint32_t magnitude = word & 0x7fff;
    const uint32_t rounded = (magnitude + 63 + (magnitude >> 7 & 1)) >> 7;
    return static_cast<uint8_t>((word >> 8 & 0x80) | (rounded < 0x7e ? rounded : 0x7e));
}

__device__ inline uint16_t word_of(uint8_t upper, uint8_t residual) {
    const uint32_t rounded_up = residual >> 7;
    const uint32_t high = (upper & 0x80) | ((upper - rounded_up) >> 1 & 0x3f);
    return static_cast<uint16_t>(high << 8 | (residual ^ (upper & 1) << 7));
}

/// Where the lower plane holds what the upper plane has at byte `position` of `row`.
__device__ inline int64_t lower_at(int64_t row, int64_t position, int64_t padded_k) {
    return lower_row(row, position / 128, padded_k / 128) * 128 + position % 128;
}

__device__ inline void split_planes(const SplitPlanesParams& p) {
    const int64_t bytes = static_cast<int64_t>(lower_plane_bytes(p.n, p.k));
    for_each(bytes, [&](int64_t i) {
        const int64_t row = i / p.padded_k, position = i % p.padded_k;
        const int64_t k = element_at(position);
        const uint16_t word = row < p.n && k < p.k ? p.words[row * p.k + k] : 0;
        const uint8_t upper = upper_of(word);
        if (row < p.n) p.upper[i] = upper;
        p.lower[lower_at(row, position, p.padded_k)] = static_cast<uint8_t>(word - upper * 128);
    });
}

__device__ inline void join_planes(const JoinPlanesParams& p) {
    for_each(p.n * p.padded_k, [&](int64_t i) {
        const int64_t row = i / p.padded_k, position = i % p.padded_k;
        const int64_t k = element_at(position);
        if (k >= p.k) return;
        p.words[row * p.k + k] = word_of(p.upper[i], p.lower[lower_at(row, position, p.padded_k)]);
    });
}

}  // namespace nestedfp::kernels
