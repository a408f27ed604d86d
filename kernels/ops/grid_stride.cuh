#pragma once

#include <cstdint>

namespace nestedfp::kernels {

/// body(i) for every i below count, shared out over the grid.
template <typename Body>
__device__ void for_each(int64_t count, const Body& body) {
    const int64_t step = static_cast<int64_t>(gridDim.x) * blockDim.x;
    for (int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count; i += step)
        body(i);
}

/// The sum, or with `most` the largest, of a non-negative value over the block; valid in thread 0.
template <typename T, typename Combine>
__device__ T over_block(T value, const Combine& combine) {
    __shared__ T of_warp[32];
    for (int distance = 16; distance > 0; distance /= 2) {
        value = combine(value, __shfl_xor_sync(0xffffffffu, value, distance));
    }
    __syncthreads();  // of_warp may still be read from the call before
    if (threadIdx.x % 32 == 0) of_warp[threadIdx.x / 32] = value;
    __syncthreads();
    const int warps = blockDim.x / 32;
    if (threadIdx.x < 32) {
        value = threadIdx.x < warps ? of_warp[threadIdx.x] : T{};
        for (int distance = 16; distance > 0; distance /= 2) {
            value = combine(value, __shfl_xor_sync(0xffffffffu, value, distance));
        }
    }
    return value;
}

}  // namespace nestedfp::kernels
