// Warpgroup matrix multiply:
// https://docs.nvidia.com/cuda/parallel-thread-execution/#asynchronous-warpgroup-level-matrix-instructions
#pragma once

#include <cstdint>

namespace nestedfp::ptx {

/// Orders register writes before the wgmma that follows.
__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }

__device__ __forceinline__ void wgmma_commit() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

/// Waits until at most kPending committed groups are unfinished.
template <int kPending>
__device__ __forceinline__ void wgmma_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

/// To be called between a wait and the first use of what was waited for: the compiler does not know that a
/// wgmma writes its accumulators until then.
template <int kCount>
__device__ __forceinline__ void settle(float (&accumulators)[kCount]) {
#pragma unroll
    for (float& value : accumulators) asm volatile("" : "+f"(value)::"memory");
}

/// A K-major tile in shared memory with rows of 128 bytes, swizzled by 128 bytes: 8 rows every 1024 bytes.
/// Addresses are in units of 16 bytes and stay below 2^14, so that an offset may be added to the low word.
struct Descriptor {
    uint32_t low;

    explicit __device__ __forceinline__ Descriptor(uint32_t address)
        : low(address >> 4 | 1u << 16) {}  // the leading dimension, not read in this mode

    /// That of an address further on by a multiple of 16 bytes. What the steps of a chunk have in common is
    /// added once.
    __device__ __forceinline__ Descriptor operator+(uint32_t bytes) const {
        Descriptor moved = *this;
        moved.low += bytes / 16;
        return moved;
    }

    /// The descriptor `bytes` further on.
    __device__ __forceinline__ uint64_t at(uint32_t bytes) const {
        constexpr uint32_t kHigh = 1u << 30 | 1024 >> 4;  // swizzle by 128 bytes; the stride of 8 rows
        uint64_t word;
        asm("mov.b64 %0, {%1, %2};" : "=l"(word) : "r"(low + bytes / 16), "r"(kHigh));
        return word;
    }
};

// Accumulators d[0 .. N / 2 - 1]: d[4 j + 2 h + e] of lane 4 g + c in warp w is row 16 w + g + 8 h, column 8
// j + 2 c + e. `accumulate` of 0 overwrites d. Shapes: A [64, 16] (e4m3: [64, 32]), B [N, 16] K-major, both
// as rows of K.

#define NESTEDFP_D4(i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define NESTEDFP_D16(i) NESTEDFP_D4(i), NESTEDFP_D4(i + 4), NESTEDFP_D4(i + 8), NESTEDFP_D4(i + 12)

#define NESTEDFP_R8 "%0, %1, %2, %3"
#define NESTEDFP_R16 NESTEDFP_R8 ", %4, %5, %6, %7"
#define NESTEDFP_R32 NESTEDFP_R16 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define NESTEDFP_R40 NESTEDFP_R32 ", %16, %17, %18, %19"
#define NESTEDFP_R48 NESTEDFP_R40 ", %20, %21, %22, %23"
#define NESTEDFP_R64 NESTEDFP_R48 ", %24, %25, %26, %27, %28, %29, %30, %31"
#define NESTEDFP_R80 NESTEDFP_R64 ", %32, %33, %34, %35, %36, %37, %38, %39"
#define NESTEDFP_R96 NESTEDFP_R80 ", %40, %41, %42, %43, %44, %45, %46, %47"
#define NESTEDFP_R128 \
    NESTEDFP_R96      \
    ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define NESTEDFP_R160 \
    NESTEDFP_R128 ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79"
#define NESTEDFP_R176 NESTEDFP_R160 ", %80, %81, %82, %83, %84, %85, %86, %87"
#define NESTEDFP_R192 NESTEDFP_R176 ", %88, %89, %90, %91, %92, %93, %94, %95"
#define NESTEDFP_R208 NESTEDFP_R192 ", %96, %97, %98, %99, %100, %101, %102, %103"
#define NESTEDFP_R240                                                                              \
    NESTEDFP_R192                                                                                  \
    ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111" \
    ", %112, %113, %114, %115, %116, %117, %118, %119"
#define NESTEDFP_R256 NESTEDFP_R240 ", %120, %121, %122, %123, %124, %125, %126, %127"
#define NESTEDFP_D_8 NESTEDFP_D4(0)
#define NESTEDFP_D_16 NESTEDFP_D_8, NESTEDFP_D4(4)
#define NESTEDFP_D_32 NESTEDFP_D_16, NESTEDFP_D4(8), NESTEDFP_D4(12)
#define NESTEDFP_D_40 NESTEDFP_D_32, NESTEDFP_D4(16)
#define NESTEDFP_D_48 NESTEDFP_D_40, NESTEDFP_D4(20)
#define NESTEDFP_D_64 NESTEDFP_D_48, NESTEDFP_D4(24), NESTEDFP_D4(28)
#define NESTEDFP_D_80 NESTEDFP_D_64, NESTEDFP_D4(32), NESTEDFP_D4(36)
#define NESTEDFP_D_96 NESTEDFP_D_80, NESTEDFP_D4(40), NESTEDFP_D4(44)
#define NESTEDFP_D_128 NESTEDFP_D_96, NESTEDFP_D16(48)
#define NESTEDFP_D_160 NESTEDFP_D_128, NESTEDFP_D16(64)
#define NESTEDFP_D_176 NESTEDFP_D_160, NESTEDFP_D4(80), NESTEDFP_D4(84)
#define NESTEDFP_D_192 NESTEDFP_D_176, NESTEDFP_D4(88), NESTEDFP_D4(92)
#define NESTEDFP_D_208 NESTEDFP_D_192, NESTEDFP_D4(96), NESTEDFP_D4(100)
#define NESTEDFP_D_240 NESTEDFP_D_192, NESTEDFP_D16(96), NESTEDFP_D4(112), NESTEDFP_D4(116)
#define NESTEDFP_D_256 NESTEDFP_D_240, NESTEDFP_D4(120), NESTEDFP_D4(124)

template <int kTokens>
struct Wgmma;

// The indices are those of the operands after the accumulators.
#define NESTEDFP_WGMMA(N, I0, I1, I2, I3, I4, I5)                                                           \
    template <>                                                                                             \
    struct Wgmma<N> {                                                                                       \
        /* A of binary16 from registers: a0 (g, 2c), a1 (g + 8, 2c), a2 (g, 2c + 8), a3 (g + 8, 2c + 8). */ \
        static __device__ __forceinline__ void rs_f16(float (&d)[N / 2], uint32_t a0, uint32_t a1,          \
                                                      uint32_t a2, uint32_t a3, uint64_t b,                 \
                                                      int accumulate) {                                     \
            asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #I5                                           \
                         ", 0;\n"                                                                           \
                         "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.f16.f16 {" NESTEDFP_R##N           \
                         "}, "                                                                              \
                         "{%" #I0 ", %" #I1 ", %" #I2 ", %" #I3 "}, %" #I4 ", p, 1, 1, 0;\n}"               \
                         : NESTEDFP_D_##N                                                                   \
                         : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "l"(b), "r"(accumulate));                    \
        }                                                                                                   \
        static __device__ __forceinline__ void ss_f16(float (&d)[N / 2], uint64_t a, uint64_t b,            \
                                                      int accumulate) {                                     \
            asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #I2                                           \
                         ", 0;\n"                                                                           \
                         "wgmma.mma_async.sync.aligned.m64n" #N "k16.f32.f16.f16 {" NESTEDFP_R##N           \
                         "}, "                                                                              \
                         "%" #I0 ", %" #I1 ", p, 1, 1, 0, 0;\n}"                                            \
                         : NESTEDFP_D_##N                                                                   \
                         : "l"(a), "l"(b), "r"(accumulate));                                                \
        }                                                                                                   \
        static __device__ __forceinline__ void ss_e4m3(float (&d)[N / 2], uint64_t a, uint64_t b,           \
                                                       int accumulate) {                                    \
            asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" #I2                                           \
                         ", 0;\n"                                                                           \
                         "wgmma.mma_async.sync.aligned.m64n" #N "k32.f32.e4m3.e4m3 {" NESTEDFP_R##N         \
                         "}, "                                                                              \
                         "%" #I0 ", %" #I1 ", p, 1, 1;\n}"                                                  \
                         : NESTEDFP_D_##N                                                                   \
                         : "l"(a), "l"(b), "r"(accumulate));                                                \
        }                                                                                                   \
    };

NESTEDFP_WGMMA(8, 4, 5, 6, 7, 8, 9)
NESTEDFP_WGMMA(16, 8, 9, 10, 11, 12, 13)
NESTEDFP_WGMMA(32, 16, 17, 18, 19, 20, 21)
NESTEDFP_WGMMA(40, 20, 21, 22, 23, 24, 25)
NESTEDFP_WGMMA(48, 24, 25, 26, 27, 28, 29)
NESTEDFP_WGMMA(64, 32, 33, 34, 35, 36, 37)
NESTEDFP_WGMMA(80, 40, 41, 42, 43, 44, 45)
NESTEDFP_WGMMA(96, 48, 49, 50, 51, 52, 53)
NESTEDFP_WGMMA(128, 64, 65, 66, 67, 68, 69)
NESTEDFP_WGMMA(160, 80, 81, 82, 83, 84, 85)
NESTEDFP_WGMMA(176, 88, 89, 90, 91, 92, 93)
NESTEDFP_WGMMA(192, 96, 97, 98, 99, 100, 101)
NESTEDFP_WGMMA(208, 104, 105, 106, 107, 108, 109)
NESTEDFP_WGMMA(240, 120, 121, 122, 123, 124, 125)
NESTEDFP_WGMMA(256, 128, 129, 130, 131, 132, 133)

#undef NESTEDFP_WGMMA
#undef NESTEDFP_R8
#undef NESTEDFP_D_8
#undef NESTEDFP_R16
#undef NESTEDFP_D_16
#undef NESTEDFP_R32
#undef NESTEDFP_D_32
#undef NESTEDFP_R40
#undef NESTEDFP_D_40
#undef NESTEDFP_R48
#undef NESTEDFP_D_48
#undef NESTEDFP_R64
#undef NESTEDFP_D_64
#undef NESTEDFP_R80
#undef NESTEDFP_D_80
#undef NESTEDFP_R96
#undef NESTEDFP_D_96
#undef NESTEDFP_R128
#undef NESTEDFP_D_128
#undef NESTEDFP_R160
#undef NESTEDFP_D_160
#undef NESTEDFP_R176
#undef NESTEDFP_D_176
#undef NESTEDFP_R192
#undef NESTEDFP_D_192
#undef NESTEDFP_R240
#undef NESTEDFP_D_240
#undef NESTEDFP_R256
#undef NESTEDFP_D_256
#undef NESTEDFP_D4
#undef NESTEDFP_D16

}  // namespace nestedfp::ptx
