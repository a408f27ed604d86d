#pragma once

#include "cuda/driver_types.h"

namespace nestedfp::cuda {

// NAME, the symbol that libcuda.so.1 exports for it, parameters. All return a CUresult.
#define NESTEDFP_DRIVER_FUNCTIONS(X)                                                                   \
    X(cuGetErrorName, "cuGetErrorName", (Result, const char**))                                        \
    X(cuGetErrorString, "cuGetErrorString", (Result, const char**))                                    \
    X(cuInit, "cuInit", (unsigned))                                                                    \
    X(cuDriverGetVersion, "cuDriverGetVersion", (int*))                                                \
    X(cuDeviceGetCount, "cuDeviceGetCount", (int*))                                                    \
    X(cuDeviceGet, "cuDeviceGet", (DeviceOrdinal*, int))                                               \
    X(cuDeviceGetName, "cuDeviceGetName", (char*, int, DeviceOrdinal))                                 \
    X(cuDeviceGetAttribute, "cuDeviceGetAttribute", (int*, DeviceAttribute, DeviceOrdinal))            \
    X(cuDeviceGetPCIBusId, "cuDeviceGetPCIBusId", (char*, int, DeviceOrdinal))                         \
    X(cuDeviceTotalMem, "cuDeviceTotalMem_v2", (size_t*, DeviceOrdinal))                               \
    X(cuDevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain", (Context*, DeviceOrdinal))                 \
    X(cuDevicePrimaryCtxRelease, "cuDevicePrimaryCtxRelease_v2", (DeviceOrdinal))                      \
    X(cuCtxSetCurrent, "cuCtxSetCurrent", (Context))                                                   \
    X(cuMemGetInfo, "cuMemGetInfo_v2", (size_t*, size_t*))                                             \
    X(cuMemAlloc, "cuMemAlloc_v2", (DevicePointer*, size_t))                                           \
    X(cuMemFree, "cuMemFree_v2", (DevicePointer))                                                      \
    X(cuMemcpyHtoDAsync, "cuMemcpyHtoDAsync_v2", (DevicePointer, const void*, size_t, StreamHandle))   \
    X(cuMemcpyDtoHAsync, "cuMemcpyDtoHAsync_v2", (void*, DevicePointer, size_t, StreamHandle))         \
    X(cuMemcpyDtoDAsync, "cuMemcpyDtoDAsync_v2", (DevicePointer, DevicePointer, size_t, StreamHandle)) \
    X(cuMemsetD8Async, "cuMemsetD8Async", (DevicePointer, unsigned char, size_t, StreamHandle))        \
    X(cuStreamCreate, "cuStreamCreate", (StreamHandle*, unsigned))                                     \
    X(cuStreamDestroy, "cuStreamDestroy_v2", (StreamHandle))                                           \
    X(cuStreamSynchronize, "cuStreamSynchronize", (StreamHandle))                                      \
    X(cuStreamBeginCapture, "cuStreamBeginCapture_v2", (StreamHandle, int))                            \
    X(cuStreamEndCapture, "cuStreamEndCapture", (StreamHandle, GraphHandle*))                          \
    X(cuEventCreate, "cuEventCreate", (EventHandle*, unsigned))                                        \
    X(cuEventDestroy, "cuEventDestroy_v2", (EventHandle))                                              \
    X(cuEventRecord, "cuEventRecord", (EventHandle, StreamHandle))                                     \
    X(cuEventSynchronize, "cuEventSynchronize", (EventHandle))                                         \
    X(cuEventElapsedTime, "cuEventElapsedTime", (float*, EventHandle, EventHandle))                    \
    X(cuGraphInstantiateWithFlags, "cuGraphInstantiateWithFlags",                                      \
      (GraphExecHandle*, GraphHandle, unsigned long long))                                             \
    X(cuGraphUpload, "cuGraphUpload", (GraphExecHandle, StreamHandle))                                 \
    X(cuGraphLaunch, "cuGraphLaunch", (GraphExecHandle, StreamHandle))                                 \
    X(cuGraphDestroy, "cuGraphDestroy", (GraphHandle))                                                 \
    X(cuGraphExecDestroy, "cuGraphExecDestroy", (GraphExecHandle))                                     \
    X(cuModuleLoadData, "cuModuleLoadData", (ModuleHandle*, const void*))                              \
    X(cuModuleUnload, "cuModuleUnload", (ModuleHandle))                                                \
    X(cuModuleGetFunction, "cuModuleGetFunction", (FunctionHandle*, ModuleHandle, const char*))        \
    X(cuFuncSetAttribute, "cuFuncSetAttribute", (FunctionHandle, FunctionAttribute, int))              \
    X(cuLaunchKernelEx, "cuLaunchKernelEx", (const LaunchConfig*, FunctionHandle, void**, void**))     \
    X(cuTensorMapEncodeTiled, "cuTensorMapEncodeTiled",                                                \
      (void*, TensorMapDataType, uint32_t, void*, const uint64_t*, const uint64_t*, const uint32_t*,   \
       const uint32_t*, TensorMapInterleave, TensorMapSwizzle, TensorMapL2Promotion, TensorMapFill))

/// The driver's functions by the names of its documentation.
struct DriverApi {
#define NESTEDFP_MEMBER(name, symbol, parameters) Result(*name) parameters;
    NESTEDFP_DRIVER_FUNCTIONS(NESTEDFP_MEMBER)
#undef NESTEDFP_MEMBER
};

/// Opened and initialised at the first call. @throws CudaError where there is no driver or no device.
const DriverApi& driver();

}  // namespace nestedfp::cuda
