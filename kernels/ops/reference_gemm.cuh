// The oracle: plain loops over K in FP64, tiled only so that it ends in reasonable time.
#pragma once

#include "values.cuh"

namespace nestedfp::kernels {

constexpr int kReferenceTile = 64;
constexpr int kReferenceDepth = 16;
/// Threads along each side of a tile; each sums kPerThread x kPerThread outputs.
constexpr int kReferenceSide = 16;
constexpr int kPerThread = kReferenceTile / kReferenceSide;

/// Blocks of 16 x 16 threads; the grid is one block per tile of 64 x 64, those along n first.
__device__ inline void reference_gemm(const ReferenceGemmParams& p) {
    // One more column than the tile has, against bank conflicts.
    __shared__ float x_tile[kReferenceDepth][kReferenceTile + 1];
    __shared__ float w_tile[kReferenceDepth][kReferenceTile + 1];
    const int64_t n_tiles = (p.n + kReferenceTile - 1) / kReferenceTile;
    const int64_t first_row = blockIdx.x / n_tiles * kReferenceTile;
    const int64_t first_n = blockIdx.x % n_tiles * kReferenceTile;
    const int tx = threadIdx.x % kReferenceSide, ty = threadIdx.x / kReferenceSide;

    const auto row_of = [&](int64_t i) { return reference_row(i, p.rows, p.m); };
    double sums[kPerThread][kPerThread] = {};
    for (int64_t k0 = 0; k0 < p.k; k0 += kReferenceDepth) {
        for (int at = threadIdx.x; at < kReferenceTile * kReferenceDepth; at += blockDim.x) {
            const int64_t k = k0 + at % kReferenceDepth;
            const int line = at / kReferenceDepth;
            const int64_t i = first_row + line, n = first_n + line;
            const bool inside = k < p.k;
            x_tile[at % kReferenceDepth][line] =
                inside && i < p.rows ? read(p.x, row_of(i) * p.k + k, p.x_reading) : 0;
            w_tile[at % kReferenceDepth][line] = inside && n < p.n ? read(p.w, n * p.k + k, p.w_reading) : 0;
        }
        __syncthreads();
        for (int k = 0; k < kReferenceDepth; ++k) {
            for (int a = 0; a < kPerThread; ++a) {
                for (int b = 0; b < kPerThread; ++b) {
                    // Exact: the product of two FP32 values of at most 11 bits each.
                    sums[a][b] += static_cast<double>(x_tile[k][ty + a * kReferenceSide] *
                                                      w_tile[k][tx + b * kReferenceSide]);
                }
            }
        }
        __syncthreads();
    }
    for (int a = 0; a < kPerThread; ++a) {
        for (int b = 0; b < kPerThread; ++b) {
            const int64_t i = first_row + ty + a * kReferenceSide, n = first_n + tx + b * kReferenceSide;
            if (i >= p.rows || n >= p.n) continue;
            const double x_scale = p.x_scale == nullptr ? 1 : p.x_scale[row_of(i) * p.x_scale_stride];
            const double w_scale = p.w_scale == nullptr ? 1 : p.w_scale[n * p.w_scale_stride];
            p.out[i * p.n + n] = static_cast<float>(sums[a][b] * x_scale * w_scale);
        }
    }
}

}  // namespace nestedfp::kernels
