// Threads, blocks, clusters and grids that wait for each other.
#pragma once

#include <cstdint>

namespace nestedfp::ptx {

/// Waits for kThreads threads that name this barrier:
/// https://docs.nvidia.com/cuda/parallel-thread-execution/#parallel-synchronization-and-communication-instructions-bar
template <int kThreads>
__device__ __forceinline__ void barrier_sync(int id) {
    asm volatile("bar.sync %0, %1;" ::"r"(id), "n"(kThreads) : "memory");
}

/// Counts as one of the kThreads, and goes on.
template <int kThreads>
__device__ __forceinline__ void barrier_arrive(int id) {
    asm volatile("bar.arrive %0, %1;" ::"r"(id), "n"(kThreads) : "memory");
}

/// Arrives for this thread, ordering nothing: a release would wait until all loads and stores of the block
/// are over, thousands of cycles. Barriers that were initialised before need fence_mbarrier_init.
__device__ __forceinline__ void cluster_arrive() {
    asm volatile("barrier.cluster.arrive.relaxed.aligned;" ::: "memory");
}

__device__ __forceinline__ void cluster_wait() { asm volatile("barrier.cluster.wait.aligned;" ::: "memory"); }

/// Programmatic dependent launch:
/// https://docs.nvidia.com/cuda/parallel-thread-execution/#parallel-synchronization-and-communication-instructions-griddepcontrol
__device__ __forceinline__ void wait_for_previous_grid() {
    asm volatile("griddepcontrol.wait;" ::: "memory");
}

__device__ __forceinline__ void launch_next_grid() {
    asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
}

/// Shrinks or grows the registers per thread of this warpgroup, a multiple of 8 from 24 to 256:
/// https://docs.nvidia.com/cuda/parallel-thread-execution/#miscellaneous-instructions-setmaxnreg
template <int kRegisters>
__device__ __forceinline__ void give_registers() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

template <int kRegisters>
__device__ __forceinline__ void take_registers() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

__device__ __forceinline__ uint64_t load_relaxed(const uint64_t* word) {
    uint64_t value;
    asm volatile("ld.relaxed.gpu.global.u64 %0, [%1];" : "=l"(value) : "l"(word) : "memory");
    return value;
}

__device__ __forceinline__ void add_relaxed(uint64_t* word, uint64_t value) {
    asm volatile("red.relaxed.gpu.global.add.u64 [%0], %1;" ::"l"(word), "l"(value) : "memory");
}

/// 16 bytes that other blocks see whole or not at all: one access of a scalar type, where a vector would be
/// one for each element. PTX names .b128 among the types of ld and st but leaves it out of its memory model;
/// that it is whole is what CUDA's own cuda::atomic of 16 bytes relies on, which is these instructions
/// (libcu++, __atomic/functions/cuda_ptx_generated.h).
/// https://docs.nvidia.com/cuda/parallel-thread-execution/#data-movement-and-conversion-instructions-st
__device__ __forceinline__ void store_relaxed_16(void* to, uint4 value) {
    asm volatile(
        "{\n.reg .b64 low, high;\n.reg .b128 whole;\n"
        "mov.b64 low, {%1, %2};\nmov.b64 high, {%3, %4};\nmov.b128 whole, {low, high};\n"
        "st.relaxed.gpu.global.b128 [%0], whole;\n}" ::"l"(to),
        "r"(value.x), "r"(value.y), "r"(value.z), "r"(value.w)
        : "memory");
}

__device__ __forceinline__ uint4 load_relaxed_16(const void* from) {
    uint4 value;
    asm volatile(
        "{\n.reg .b64 low, high;\n.reg .b128 whole;\n"
        "ld.relaxed.gpu.global.b128 whole, [%4];\n"
        "mov.b128 {low, high}, whole;\nmov.b64 {%0, %1}, low;\nmov.b64 {%2, %3}, high;\n}"
        : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
        : "l"(from)
        : "memory");
    return value;
}

}  // namespace nestedfp::ptx
