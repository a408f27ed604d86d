// A driver without a device, for tests of the host side: memory is the host's, kernels do nothing, and what
// the real driver would refuse is refused. It writes what it is asked to FAKE_CUDA_LOG and lets the function
// named by FAKE_CUDA_FAIL fail.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <mutex>

#include "cuda/driver_api.h"

namespace {

using namespace nestedfp::cuda;

constexpr Result kInvalidValue = 1;
constexpr Result kOutOfMemory = 2;
constexpr unsigned kMostShared = 232448;

int live_buffers = 0;
std::mutex buffers_mutex;
std::map<DevicePointer, uint64_t> bytes_of_buffer;

FILE* log_file() {
    static FILE* file = std::fopen(std::getenv("FAKE_CUDA_LOG"), "w");
    return file;
}

template <typename... Values>
void note(const char* format, Values... values) {
    std::fprintf(log_file(), format, values...);
    std::fflush(log_file());
}

bool is_to_fail(const char* name) {
    const char* failing = std::getenv("FAKE_CUDA_FAIL");
    return failing != nullptr && std::strcmp(failing, name) == 0;
}

/// Whether so many bytes from `base` on are of one allocation.
bool lies_in_a_buffer(const void* base, uint64_t bytes) {
    const std::lock_guard lock(buffers_mutex);
    const auto address = reinterpret_cast<DevicePointer>(base);
    const auto after = bytes_of_buffer.upper_bound(address);
    if (after == bytes_of_buffer.begin()) return false;
    const auto& [start, size] = *std::prev(after);
    return address + bytes <= start + size;
}

}  // namespace

extern "C" {

#define EXPORT __attribute__((visibility("default"))) Result

EXPORT cuGetErrorName(Result result, const char** name) {
    *name = result == kInvalidValue ? "CUDA_ERROR_INVALID_VALUE" : "CUDA_ERROR_OUT_OF_MEMORY";
    return kSuccess;
}
EXPORT cuGetErrorString(Result result, const char** text) {
    *text = result == kInvalidValue ? "invalid argument" : "out of memory";
    return kSuccess;
}

EXPORT cuInit(unsigned) { return kSuccess; }
EXPORT cuDriverGetVersion(int* version) {
    *version = 13000;
    return kSuccess;
}
EXPORT cuDeviceGetCount(int* count) {
    *count = 1;
    return kSuccess;
}
EXPORT cuDeviceGet(DeviceOrdinal* device, int ordinal) {
    *device = ordinal;
    return kSuccess;
}
EXPORT cuDeviceGetName(char* name, int size, DeviceOrdinal) {
    std::snprintf(name, static_cast<size_t>(size), "fake");
    return kSuccess;
}
EXPORT cuDeviceGetPCIBusId(char* id, int size, DeviceOrdinal) {
    std::snprintf(id, static_cast<size_t>(size), "0000:00:00.0");
    return kSuccess;
}
EXPORT cuDeviceGetAttribute(int* value, DeviceAttribute attribute, DeviceOrdinal) {
    const char* major = std::getenv("FAKE_CUDA_MAJOR");
    const char* bits = std::getenv("FAKE_CUDA_MEMORY_BITS");
    if (attribute == kGlobalMemoryBusWidth && bits != nullptr && std::atoi(bits) == 0) return kInvalidValue;
    *value = attribute == kMultiprocessorCount      ? 132
             : attribute == kComputeCapabilityMajor ? (major == nullptr ? 9 : std::atoi(major))
             : attribute == kComputeCapabilityMinor ? 0
             : attribute == kMemoryClockRate        ? 2619000
             : attribute == kGlobalMemoryBusWidth   ? (bits == nullptr ? 5120 : std::atoi(bits))
             : attribute == kL2CacheSize            ? 1 << 20
                                                    : static_cast<int>(kMostShared);
    return kSuccess;
}
EXPORT cuDeviceTotalMem_v2(size_t* bytes, DeviceOrdinal) {
    *bytes = size_t{1} << 30;
    return kSuccess;
}
EXPORT cuDevicePrimaryCtxRetain(Context* context, DeviceOrdinal) {
    note("context retained\n");
    *context = reinterpret_cast<Context>(1);
    return kSuccess;
}
EXPORT cuDevicePrimaryCtxRelease_v2(DeviceOrdinal) {
    note("context released, %d buffers live\n", live_buffers);
    return kSuccess;
}
EXPORT cuCtxSetCurrent(Context) { return kSuccess; }

EXPORT cuMemGetInfo_v2(size_t* free, size_t* total) {
    *free = *total = size_t{1} << 30;
    return kSuccess;
}
EXPORT cuMemAlloc_v2(DevicePointer* pointer, size_t bytes) {
    if (is_to_fail("cuMemAlloc")) return kOutOfMemory;
    *pointer = reinterpret_cast<DevicePointer>(std::aligned_alloc(256, (bytes + 255) / 256 * 256));
    ++live_buffers;
    const std::lock_guard lock(buffers_mutex);
    bytes_of_buffer[*pointer] = bytes;
    return kSuccess;
}
EXPORT cuMemFree_v2(DevicePointer pointer) {
    std::free(reinterpret_cast<void*>(pointer));
    --live_buffers;
    const std::lock_guard lock(buffers_mutex);
    bytes_of_buffer.erase(pointer);
    return kSuccess;
}
EXPORT cuMemcpyHtoDAsync_v2(DevicePointer to, const void* from, size_t bytes, StreamHandle) {
    std::memcpy(reinterpret_cast<void*>(to), from, bytes);
    return kSuccess;
}
EXPORT cuMemcpyDtoHAsync_v2(void* to, DevicePointer from, size_t bytes, StreamHandle) {
    std::memcpy(to, reinterpret_cast<void*>(from), bytes);
    return kSuccess;
}
EXPORT cuMemcpyDtoDAsync_v2(DevicePointer to, DevicePointer from, size_t bytes, StreamHandle) {
    std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), bytes);
    return kSuccess;
}
EXPORT cuMemsetD8Async(DevicePointer to, unsigned char byte, size_t bytes, StreamHandle) {
    std::memset(reinterpret_cast<void*>(to), byte, bytes);
    return kSuccess;
}

EXPORT cuStreamCreate(StreamHandle* stream, unsigned) {
    *stream = reinterpret_cast<StreamHandle>(1);
    return kSuccess;
}
EXPORT cuStreamDestroy_v2(StreamHandle) { return kSuccess; }
EXPORT cuStreamSynchronize(StreamHandle) { return kSuccess; }
EXPORT cuStreamBeginCapture_v2(StreamHandle, int) {
    note("capture\n");
    return kSuccess;
}
EXPORT cuStreamEndCapture(StreamHandle, GraphHandle* graph) {
    note("captured\n");
    *graph = reinterpret_cast<GraphHandle>(1);
    return kSuccess;
}
EXPORT cuEventCreate(EventHandle* event, unsigned) {
    *event = reinterpret_cast<EventHandle>(1);
    return kSuccess;
}
EXPORT cuEventDestroy_v2(EventHandle) { return kSuccess; }
EXPORT cuEventRecord(EventHandle, StreamHandle) { return kSuccess; }
EXPORT cuEventSynchronize(EventHandle) { return kSuccess; }
EXPORT cuEventElapsedTime(float* milliseconds, EventHandle, EventHandle) {
    *milliseconds = 0.75f;
    return kSuccess;
}
EXPORT cuGraphInstantiateWithFlags(GraphExecHandle* executable, GraphHandle, unsigned long long) {
    *executable = reinterpret_cast<GraphExecHandle>(1);
    return kSuccess;
}
EXPORT cuGraphUpload(GraphExecHandle, StreamHandle) { return kSuccess; }
EXPORT cuGraphLaunch(GraphExecHandle, StreamHandle) {
    note("graph launched\n");
    return kSuccess;
}
EXPORT cuGraphDestroy(GraphHandle) { return kSuccess; }
EXPORT cuGraphExecDestroy(GraphExecHandle) { return kSuccess; }

EXPORT cuModuleLoadData(ModuleHandle* module, const void*) {
    *module = reinterpret_cast<ModuleHandle>(1);
    return kSuccess;
}
EXPORT cuModuleUnload(ModuleHandle) { return kSuccess; }
EXPORT cuModuleGetFunction(FunctionHandle* function, ModuleHandle, const char* name) {
    *function = reinterpret_cast<FunctionHandle>(strdup(name));  // a few names, kept until the process ends
    return kSuccess;
}
EXPORT cuFuncSetAttribute(FunctionHandle, FunctionAttribute, int value) {
    return value <= static_cast<int>(kMostShared) ? kSuccess : kInvalidValue;
}
EXPORT cuLaunchKernelEx(const LaunchConfig* config, FunctionHandle function, void**, void**) {
    unsigned cluster = 1;
    int overlaps = 0;
    for (unsigned at = 0; at < config->attribute_count; ++at) {
        const LaunchAttribute& attribute = config->attributes[at];
        if (attribute.id == kLaunchClusterDimension) cluster = attribute.value.cluster.x;
        if (attribute.id == kLaunchProgrammaticStreamSerialization)
            overlaps = attribute.value.programmatic_stream_serialization_allowed;
    }
    const char* name = reinterpret_cast<const char*>(function);
    note("launch %s grid %u block %u cluster %u shared %u overlaps %d\n", name, config->grid_x,
         config->block_x, cluster, config->shared_bytes, overlaps);
    const bool is_valid = config->grid_x > 0 && config->grid_x % cluster == 0 && config->block_x <= 1024 &&
                          config->shared_bytes <= kMostShared && !is_to_fail("cuLaunchKernelEx");
    return is_valid ? kSuccess : kInvalidValue;
}
/// The rules of cuTensorMapEncodeTiled's documentation for matrices, and that there is memory for all of one.
EXPORT cuTensorMapEncodeTiled(void* map, TensorMapDataType type, uint32_t rank, void* base,
                              const uint64_t* dimensions, const uint64_t* strides, const uint32_t* box,
                              const uint32_t*, TensorMapInterleave, TensorMapSwizzle swizzle,
                              TensorMapL2Promotion, TensorMapFill) {
    const uint32_t element = type == kTensorMapFloat16 ? 2 : 1;
    const uint32_t inner = box[0] * element;
    const bool is_valid = rank == 2 && reinterpret_cast<uintptr_t>(base) % 16 == 0 && strides[0] % 16 == 0 &&
                          strides[0] >= dimensions[0] * element && box[0] <= 256 && box[1] <= 256 &&
                          inner % 16 == 0 && (swizzle != kTensorMapSwizzle128B || inner <= 128) &&
                          dimensions[0] > 0 && dimensions[1] > 0 &&
                          lies_in_a_buffer(base, (dimensions[1] - 1) * strides[0] + dimensions[0] * element);
    if (!is_valid) return kInvalidValue;
    std::memset(map, 0, 128);
    return kSuccess;
}

}  // extern "C"
