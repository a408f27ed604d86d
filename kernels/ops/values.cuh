// Between the bits of the formats and FP32.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>

#include <cstdint>

#include "../interface/ops.h"

namespace nestedfp::kernels {

constexpr float kE4m3Max = 448;

__device__ inline float half_to_float(uint16_t word) { return __half2float(__ushort_as_half(word)); }

__device__ inline uint16_t half_of(float value) { return __half_as_ushort(__float2half_rn(value)); }

__device__ inline float e4m3_to_float(uint8_t byte) {
    return __half2float(__half(__nv_cvt_fp8_to_halfraw(byte, __NV_E4M3)));
}

/// Nearest, ties to even, saturating at 448.
__device__ inline uint8_t e4m3_of(float value) {
    return __nv_cvt_float_to_fp8(value, __NV_SATFINITE, __NV_E4M3);
}

__device__ inline float read(const void* matrix, int64_t at, Reading reading) {
    switch (reading) {
        case Reading::kHalf:
            return half_to_float(static_cast<const uint16_t*>(matrix)[at]);
        case Reading::kUpperOfHalf:
            return e4m3_to_float(e4m3_of(256 * half_to_float(static_cast<const uint16_t*>(matrix)[at])));
        case Reading::kE4m3:
            return e4m3_to_float(static_cast<const uint8_t*>(matrix)[at]);
        case Reading::kBfloat16:
            return __bfloat162float(__ushort_as_bfloat16(static_cast<const uint16_t*>(matrix)[at]));
    }
    return 0;
}

}  // namespace nestedfp::kernels
