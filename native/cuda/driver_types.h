// The part of cuda.h that is used here, declared anew so that no CUDA header is needed;
// test/native/cuda_declarations.cc compares it with the real header where there is one.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nestedfp::cuda {

using Result = int;
using DeviceOrdinal = int;
using DevicePointer = unsigned long long;
using Context = struct ContextTag*;
using StreamHandle = struct StreamTag*;
using EventHandle = struct EventTag*;
using GraphHandle = struct GraphTag*;
using GraphExecHandle = struct GraphExecTag*;
using ModuleHandle = struct ModuleTag*;
using FunctionHandle = struct FunctionTag*;

constexpr Result kSuccess = 0;
constexpr Result kErrorNoDevice = 100;

enum DeviceAttribute : int {
    kMultiprocessorCount = 16,
    /// In kHz.
    kMemoryClockRate = 36,
    /// In bits.
    kGlobalMemoryBusWidth = 37,
    kL2CacheSize = 38,
    kComputeCapabilityMajor = 75,
    kComputeCapabilityMinor = 76,
    kMaxSharedMemoryPerBlockOptin = 97,
};

enum FunctionAttribute : int {
    kFunctionMaxDynamicSharedSizeBytes = 8,
};

constexpr unsigned kStreamNonBlocking = 1;
constexpr unsigned kEventDefault = 0;
constexpr int kCaptureThreadLocal = 1;

enum LaunchAttributeId : int {
    kLaunchClusterDimension = 4,
    kLaunchProgrammaticStreamSerialization = 6,
};

union LaunchAttributeValue {
    char pad[64];
    struct {
        unsigned x, y, z;
    } cluster;
    int programmatic_stream_serialization_allowed;
};

struct LaunchAttribute {
    LaunchAttributeId id;
    char pad[4];
    LaunchAttributeValue value;
};

struct LaunchConfig {
    unsigned grid_x, grid_y, grid_z;
    unsigned block_x, block_y, block_z;
    unsigned shared_bytes;
    StreamHandle stream;
    LaunchAttribute* attributes;
    unsigned attribute_count;
};

enum TensorMapDataType : int { kTensorMapUint8 = 0, kTensorMapFloat16 = 6 };
enum TensorMapInterleave : int { kTensorMapInterleaveNone = 0 };
enum TensorMapSwizzle : int { kTensorMapSwizzleNone = 0, kTensorMapSwizzle128B = 3 };
enum TensorMapL2Promotion : int { kTensorMapL2None = 0, kTensorMapL2_128B = 2, kTensorMapL2_256B = 3 };
enum TensorMapFill : int { kTensorMapFillZeros = 0 };

}  // namespace nestedfp::cuda
