// Shared memory to registers and back, in the shapes of the tensor cores.
#pragma once

#include <cstdint>

namespace nestedfp::ptx {

__device__ __forceinline__ uint4 load_shared_16(uint32_t address) {
    uint4 v;
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
                 : "r"(address));
    return v;
}

__device__ __forceinline__ void store_shared_16(uint32_t address, float a, float b, float c, float d) {
    asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(address), "f"(a), "f"(b), "f"(c), "f"(d)
                 : "memory");
}

__device__ __forceinline__ uint32_t load_shared(uint32_t address) {
    uint32_t v;
    asm volatile("ld.shared.u32 %0, [%1];" : "=r"(v) : "r"(address) : "memory");
    return v;
}

__device__ __forceinline__ void store_shared(uint32_t address, uint32_t v) {
    asm volatile("st.shared.u32 [%0], %1;" ::"r"(address), "r"(v) : "memory");
}

__device__ __forceinline__ float4 load_shared_float4(uint32_t address) {
    float4 v;
    asm volatile("ld.shared.v4.f32 {%0, %1, %2, %3}, [%4];"
                 : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
                 : "r"(address)
                 : "memory");
    return v;
}

__device__ __forceinline__ void store_shared_float(uint32_t address, float a) {
    asm volatile("st.shared.f32 [%0], %1;" ::"r"(address), "f"(a) : "memory");
}

__device__ __forceinline__ float2 load_shared_float2(uint32_t address) {
    float2 v;
    asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];" : "=f"(v.x), "=f"(v.y) : "r"(address) : "memory");
    return v;
}

/// Stores four 8x8 matrices of 16-bit elements, transposed or as they are; lane l gives the address of row
/// l % 8 of matrix l / 8.
/// https://docs.nvidia.com/cuda/parallel-thread-execution/#warp-level-matrix-instructions-stmatrix
template <bool kTransposed>
__device__ __forceinline__ void stmatrix_x4(uint32_t address, uint32_t a, uint32_t b, uint32_t c,
                                            uint32_t d) {
    if constexpr (kTransposed) {
        asm volatile("stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address),
                     "r"(a), "r"(b), "r"(c), "r"(d)
                     : "memory");
    } else {
        asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(address),
                     "r"(a), "r"(b), "r"(c), "r"(d)
                     : "memory");
    }
}

/// As stmatrix_x4, two matrices; lanes 0 to 15 give the addresses.
template <bool kTransposed>
__device__ __forceinline__ void stmatrix_x2(uint32_t address, uint32_t a, uint32_t b) {
    if constexpr (kTransposed) {
        asm volatile("stmatrix.sync.aligned.m8n8.x2.trans.shared.b16 [%0], {%1, %2};" ::"r"(address), "r"(a),
                     "r"(b)
                     : "memory");
    } else {
        asm volatile("stmatrix.sync.aligned.m8n8.x2.shared.b16 [%0], {%1, %2};" ::"r"(address), "r"(a), "r"(b)
                     : "memory");
    }
}

/// Bytes of (x, y) chosen by the nibbles of kSelect: 0-3 of x, 4-7 of y.
template <uint32_t kSelect>
__device__ __forceinline__ uint32_t permute_bytes(uint32_t x, uint32_t y) {
    uint32_t out;
    asm("prmt.b32 %0, %1, %2, %3;" : "=r"(out) : "r"(x), "r"(y), "n"(kSelect));
    return out;
}

/// As permute_bytes, of accumulators. The compiler does not know that wgmma writes those until it is waited
/// for: floats made integers outside would be made so before, and each wgmma would wait for the one before.
template <uint32_t kSelect>
__device__ __forceinline__ uint32_t permute_sums(float x, float y) {
    uint32_t out;
    asm volatile(
        "{\n.reg .b32 x, y;\n"
        "mov.b32 x, %1;\nmov.b32 y, %2;\n"
        "prmt.b32 %0, x, y, %3;\n}"
        : "=r"(out)
        : "f"(x), "f"(y), "n"(kSelect));
    return out;
}

/// Four E4M3 bytes, exactly, to binary16: the lower two to `low`. Halves made by `mov` are operands of the
/// conversion itself; those made by a shift cost an instruction of the integer pipe each.
__device__ __forceinline__ void widen_e4m3x4(uint32_t bytes, uint32_t& low, uint32_t& high) {
    asm("{\n"
        ".reg .b16 first, second;\n"
        "mov.b32 {first, second}, %2;\n"
        "cvt.rn.f16x2.e4m3x2 %0, first;\n"
        "cvt.rn.f16x2.e4m3x2 %1, second;\n"
        "}"
        : "=r"(low), "=r"(high)
        : "r"(bytes));
}

/// Products of two pairs of binary16; subnormals are kept.
__device__ __forceinline__ uint32_t multiply_half2(uint32_t x, uint32_t y) {
    uint32_t out;
    asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(out) : "r"(x), "r"(y));
    return out;
}

/// Sums of two pairs of 16-bit integers.
__device__ __forceinline__ uint32_t add_int16x2(uint32_t x, uint32_t y) {
    uint32_t out;
    asm("add.s16x2 %0, %1, %2;" : "=r"(out) : "r"(x), "r"(y));
    return out;
}

/// Two floats to binary16, nearest even; `low` in the low half.
__device__ __forceinline__ uint32_t pack_half2(float low, float high) {
    uint32_t out;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(out) : "f"(high), "f"(low));
    return out;
}

}  // namespace nestedfp::ptx
