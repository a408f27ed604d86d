// Words to planes and back, as FORMAT.md section 1 writes it.
#pragma once

#include "../interface/ops.h"
#include "grid_stride.cuh"
#include "layout.cuh"

namespace nestedfp::kernels {

/// E4M3 of 256 times the value.
__device__ inline uint8_t upper_of(uint16_t word) {
    const uint32_t magnitude = word & 0x7fff;
    const uint32_t rounded = (magnitude + 63 + (magnitude >> 7 & 1)) >> 7;
    return static_cast<uint8_t>((word >> 8 & 0x80) | (rounded < 0x7e ? rounded : 0x7e));
}

__device__ inline uint16_t word_of(uint8_t upper, uint8_t lower) {
    const uint32_t rounded_up = (upper & 1) ^ (lower >> 7);
    const uint32_t high = (upper & 0x80) | ((upper - rounded_up) >> 1 & 0x3f);
    return static_cast<uint16_t>(high << 8 | lower);
}

__device__ inline void split_planes(const SplitPlanesParams& p) {
    for_each(p.n * p.padded_k, [&](int64_t i) {
        const int64_t k = element_at(i % p.padded_k);
        const uint16_t word = k < p.k ? p.words[i / p.padded_k * p.k + k] : 0;
        p.upper[i] = upper_of(word);
        p.lower[i] = static_cast<uint8_t>(word);
    });
}

__device__ inline void join_planes(const JoinPlanesParams& p) {
    for_each(p.n * p.padded_k, [&](int64_t i) {
        const int64_t k = element_at(i % p.padded_k);
        if (k < p.k) p.words[i / p.padded_k * p.k + k] = word_of(p.upper[i], p.lower[i]);
    });
}

}  // namespace nestedfp::kernels
