// Binary16 to E4M3 with a scale per row or one for all.
#pragma once

#include "grid_stride.cuh"
#include "layout.cuh"
#include "values.cuh"

namespace nestedfp::kernels {

__device__ inline float largest(float a, float b) { return fmaxf(a, b); }

__device__ inline float scale_of(float maximum) {
    const float scale = __fdiv_rn(maximum, kE4m3Max);
    return scale == 0 ? 1 : scale;
}

/// Two neighbouring values; `at` is even.
__device__ inline float2 pair_at(const uint16_t* x, int64_t at) {
    return __half22float2(*reinterpret_cast<const __half2*>(x + at));
}

__device__ inline uint32_t quantised_pair(float2 values, float scale) {
    const float2 scaled{__fdiv_rn(values.x, scale), __fdiv_rn(values.y, scale)};
    return __nv_cvt_float2_to_fp8x2(scaled, __NV_SATFINITE, __NV_E4M3);
}

/// The largest magnitude of a row whose length is a multiple of 8 and whose start is aligned to 16 bytes.
__device__ inline float row_maximum(const uint16_t* row, int64_t cols) {
    __half2 most{};
    for (int64_t at = threadIdx.x; at < cols / 8; at += blockDim.x) {
        const uint4 raw = reinterpret_cast<const uint4*>(row)[at];
        const __half2* pairs = reinterpret_cast<const __half2*>(&raw);
        for (int i = 0; i < 4; ++i) most = __hmax2(most, __habs2(pairs[i]));
    }
    return fmaxf(__low2float(most), __high2float(most));
}

/// Sixteen bytes of a device row: the elements of a lane of a quad in 64 of K.
__device__ inline uint4 permuted_chunk(const uint16_t* row, int64_t chunk, int64_t cols, float scale) {
    const int64_t first = element_at(16 * chunk);
    uint32_t words[4];
    for (int j = 0; j < 4; ++j) {
        uint32_t pairs[2] = {};
        for (int h = 0; h < 2; ++h) {
            const int64_t k = first + 16 * j + 8 * h;
            if (k < cols) pairs[h] = quantised_pair(pair_at(row, k), scale);
        }
        words[j] = pairs[0] | pairs[1] << 16;
    }
    return {words[0], words[1], words[2], words[3]};
}

/// cols is a multiple of 16, as the format's K is.
__device__ inline void quantise_rows(const QuantiseRowsParams& p) {
    __shared__ float shared_scale;
    const int64_t row = blockIdx.x;
    const uint16_t* x = p.x + row * p.cols;
    uint8_t* out = p.out + row * p.pitch;
    const float maximum = over_block(row_maximum(x, p.cols), largest);
    if (threadIdx.x == 0) {
        shared_scale = scale_of(maximum);
        p.scales[row] = shared_scale;
    }
    __syncthreads();
    const float scale = shared_scale;
    if (p.permuted) {
        for (int64_t chunk = threadIdx.x; chunk < p.pitch / 16; chunk += blockDim.x) {
            reinterpret_cast<uint4*>(out)[chunk] = permuted_chunk(x, chunk, p.cols, scale);
        }
    } else {
        for (int64_t at = threadIdx.x; at < p.cols / 4; at += blockDim.x) {
            const uint32_t low = quantised_pair(pair_at(x, 4 * at), scale);
            const uint32_t high = quantised_pair(pair_at(x, 4 * at + 2), scale);
            reinterpret_cast<uint32_t*>(out)[at] = low | high << 16;
        }
    }
}

/// count is a multiple of 8.
__device__ inline void absolute_maximum(const AbsoluteMaximumParams& p) {
    float most = 0;
    for_each(p.count / 8, [&](int64_t at) {
        const uint4 raw = reinterpret_cast<const uint4*>(p.x)[at];
        const __half2* pairs = reinterpret_cast<const __half2*>(&raw);
        for (int i = 0; i < 4; ++i) {
            const float2 values = __half22float2(__habs2(pairs[i]));
            most = fmaxf(most, fmaxf(values.x, values.y));
        }
    });
    most = over_block(most, largest);
    // The bits of non-negative FP32 values order as integers do.
    if (threadIdx.x == 0) atomicMax(p.maximum, __float_as_uint(most));
}

/// count is a multiple of 4.
__device__ inline void quantise_tensor(const QuantiseTensorParams& p) {
    const float scale = scale_of(*p.maximum);
    if (blockIdx.x == 0 && threadIdx.x == 0) *p.scale = scale;
    for_each(p.count / 4, [&](int64_t at) {
        const uint32_t low = quantised_pair(pair_at(p.x, 4 * at), scale);
        const uint32_t high = quantised_pair(pair_at(p.x, 4 * at + 2), scale);
        reinterpret_cast<uint32_t*>(p.out)[at] = low | high << 16;
    });
}

}  // namespace nestedfp::kernels
