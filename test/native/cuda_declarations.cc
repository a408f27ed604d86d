// Compiles only if native/cuda's own declarations agree with the real headers, as far as those are there.
#include <cuda.h>

#include <cstddef>
#include <type_traits>

#include "cuda/driver_api.h"
#include "cuda/driver_types.h"

namespace own = nestedfp::cuda;

static_assert(own::kSuccess == CUDA_SUCCESS && own::kErrorNoDevice == CUDA_ERROR_NO_DEVICE);
static_assert(sizeof(own::Result) == sizeof(CUresult) && sizeof(own::DeviceOrdinal) == sizeof(CUdevice));
static_assert(std::is_same_v<own::DevicePointer, CUdeviceptr>);

static_assert(int{own::kMultiprocessorCount} == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
static_assert(int{own::kMemoryClockRate} == CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE);
static_assert(int{own::kGlobalMemoryBusWidth} == CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH);
static_assert(int{own::kL2CacheSize} == CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
static_assert(int{own::kComputeCapabilityMajor} == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
static_assert(int{own::kComputeCapabilityMinor} == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
static_assert(int{own::kMaxSharedMemoryPerBlockOptin} ==
              CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
static_assert(int{own::kFunctionMaxDynamicSharedSizeBytes} ==
              CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);

static_assert(own::kStreamNonBlocking == CU_STREAM_NON_BLOCKING && own::kEventDefault == CU_EVENT_DEFAULT);
static_assert(own::kCaptureThreadLocal == CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);

static_assert(int{own::kLaunchClusterDimension} == CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION);
static_assert(int{own::kLaunchProgrammaticStreamSerialization} ==
              CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION);
static_assert(sizeof(own::LaunchAttributeValue) == sizeof(CUlaunchAttributeValue));
static_assert(sizeof(own::LaunchAttribute) == sizeof(CUlaunchAttribute));
static_assert(offsetof(own::LaunchAttribute, value) == offsetof(CUlaunchAttribute, value));
static_assert(offsetof(own::LaunchAttributeValue, cluster) == offsetof(CUlaunchAttributeValue, clusterDim));
static_assert(sizeof(own::LaunchAttributeValue::cluster) == sizeof(CUlaunchAttributeValue::clusterDim));
static_assert(sizeof(own::LaunchConfig) == sizeof(CUlaunchConfig));
static_assert(offsetof(own::LaunchConfig, grid_x) == offsetof(CUlaunchConfig, gridDimX));
static_assert(offsetof(own::LaunchConfig, block_x) == offsetof(CUlaunchConfig, blockDimX));
static_assert(offsetof(own::LaunchConfig, shared_bytes) == offsetof(CUlaunchConfig, sharedMemBytes));
static_assert(offsetof(own::LaunchConfig, stream) == offsetof(CUlaunchConfig, hStream));
static_assert(offsetof(own::LaunchConfig, attributes) == offsetof(CUlaunchConfig, attrs));
static_assert(offsetof(own::LaunchConfig, attribute_count) == offsetof(CUlaunchConfig, numAttrs));

static_assert(int{own::kTensorMapUint8} == CU_TENSOR_MAP_DATA_TYPE_UINT8);
static_assert(int{own::kTensorMapFloat16} == CU_TENSOR_MAP_DATA_TYPE_FLOAT16);
static_assert(int{own::kTensorMapInterleaveNone} == CU_TENSOR_MAP_INTERLEAVE_NONE);
static_assert(int{own::kTensorMapSwizzleNone} == CU_TENSOR_MAP_SWIZZLE_NONE);
static_assert(int{own::kTensorMapSwizzle128B} == CU_TENSOR_MAP_SWIZZLE_128B);
static_assert(int{own::kTensorMapL2None} == CU_TENSOR_MAP_L2_PROMOTION_NONE);
static_assert(int{own::kTensorMapL2_128B} == CU_TENSOR_MAP_L2_PROMOTION_L2_128B);
static_assert(int{own::kTensorMapL2_256B} == CU_TENSOR_MAP_L2_PROMOTION_L2_256B);
static_assert(int{own::kTensorMapFillZeros} == CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);

// The version suffixes: cuda.h renames a function to the symbol that its declaration fits.
#define TEXT(x) #x
#define EXPANDED(x) TEXT(x)
constexpr bool is_same(const char* a, const char* b) {
    while (*a != 0 && *a == *b) ++a, ++b;
    return *a == *b;
}
#define CHECK_SYMBOL(name, symbol) static_assert(is_same(EXPANDED(name), symbol), #name)
CHECK_SYMBOL(cuDeviceTotalMem, "cuDeviceTotalMem_v2");
CHECK_SYMBOL(cuDevicePrimaryCtxRelease, "cuDevicePrimaryCtxRelease_v2");
CHECK_SYMBOL(cuMemGetInfo, "cuMemGetInfo_v2");
CHECK_SYMBOL(cuMemAlloc, "cuMemAlloc_v2");
CHECK_SYMBOL(cuMemFree, "cuMemFree_v2");
CHECK_SYMBOL(cuMemcpyHtoDAsync, "cuMemcpyHtoDAsync_v2");
CHECK_SYMBOL(cuMemcpyDtoHAsync, "cuMemcpyDtoHAsync_v2");
CHECK_SYMBOL(cuStreamDestroy, "cuStreamDestroy_v2");
CHECK_SYMBOL(cuStreamBeginCapture, "cuStreamBeginCapture_v2");
CHECK_SYMBOL(cuEventDestroy, "cuEventDestroy_v2");
CHECK_SYMBOL(cuMemsetD8Async, "cuMemsetD8Async");
CHECK_SYMBOL(cuLaunchKernelEx, "cuLaunchKernelEx");

/// As many parameters, each as wide and of the same kind of register.
template <typename Own, typename Real>
struct Fits : std::false_type {};
template <typename... Own, typename... Real>
    requires(sizeof...(Own) == sizeof...(Real))
struct Fits<own::Result (*)(Own...), CUresult(Real...)>
    : std::bool_constant<((sizeof(Own) == sizeof(Real) &&
                           std::is_pointer_v<Own> == std::is_pointer_v<Real>)&&...)> {};
#define CHECK_PARAMETERS(name) \
    static_assert(Fits<decltype(own::DriverApi::name), decltype(::name)>::value, #name)
CHECK_PARAMETERS(cuGetErrorName);
CHECK_PARAMETERS(cuGetErrorString);
CHECK_PARAMETERS(cuInit);
CHECK_PARAMETERS(cuDriverGetVersion);
CHECK_PARAMETERS(cuDeviceGetCount);
CHECK_PARAMETERS(cuDeviceGet);
CHECK_PARAMETERS(cuDeviceGetName);
CHECK_PARAMETERS(cuDeviceGetAttribute);
CHECK_PARAMETERS(cuDeviceGetPCIBusId);
CHECK_PARAMETERS(cuDevicePrimaryCtxRetain);
CHECK_PARAMETERS(cuCtxSetCurrent);
CHECK_PARAMETERS(cuMemsetD8Async);
CHECK_PARAMETERS(cuStreamCreate);
CHECK_PARAMETERS(cuStreamSynchronize);
CHECK_PARAMETERS(cuStreamEndCapture);
CHECK_PARAMETERS(cuEventCreate);
CHECK_PARAMETERS(cuEventRecord);
CHECK_PARAMETERS(cuEventSynchronize);
CHECK_PARAMETERS(cuGraphInstantiateWithFlags);
CHECK_PARAMETERS(cuGraphUpload);
CHECK_PARAMETERS(cuGraphLaunch);
CHECK_PARAMETERS(cuGraphDestroy);
CHECK_PARAMETERS(cuGraphExecDestroy);
CHECK_PARAMETERS(cuModuleLoadData);
CHECK_PARAMETERS(cuModuleUnload);
CHECK_PARAMETERS(cuModuleGetFunction);
CHECK_PARAMETERS(cuFuncSetAttribute);
CHECK_PARAMETERS(cuLaunchKernelEx);
CHECK_PARAMETERS(cuTensorMapEncodeTiled);

#if __has_include(<cublasLt.h>)
#include <cublasLt.h>

#include "cuda/cublaslt_types.h"

static_assert(sizeof(own::MatmulAlgorithm) == sizeof(cublasLtMatmulAlgo_t));
static_assert(sizeof(own::MatmulHeuristic) == sizeof(cublasLtMatmulHeuristicResult_t));
static_assert(offsetof(own::MatmulHeuristic, workspace_bytes) ==
              offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize));
static_assert(offsetof(own::MatmulHeuristic, state) == offsetof(cublasLtMatmulHeuristicResult_t, state));
static_assert(own::kCublasSuccess == CUBLAS_STATUS_SUCCESS &&
              own::kCublasNotSupported == CUBLAS_STATUS_NOT_SUPPORTED);
static_assert(int{own::kCudaR32F} == CUDA_R_32F && int{own::kCudaR16F} == CUDA_R_16F);
static_assert(int{own::kCudaR16BF} == CUDA_R_16BF && int{own::kCudaR8FE4M3} == CUDA_R_8F_E4M3);
static_assert(own::kCompute32F == CUBLAS_COMPUTE_32F);
static_assert(own::kOperationNone == CUBLAS_OP_N && own::kOperationTranspose == CUBLAS_OP_T);
static_assert(int{own::kMatmulTransA} == CUBLASLT_MATMUL_DESC_TRANSA);
static_assert(int{own::kMatmulTransB} == CUBLASLT_MATMUL_DESC_TRANSB);
static_assert(int{own::kMatmulAScalePointer} == CUBLASLT_MATMUL_DESC_A_SCALE_POINTER);
static_assert(int{own::kMatmulBScalePointer} == CUBLASLT_MATMUL_DESC_B_SCALE_POINTER);
static_assert(int{own::kMatmulFastAccumulation} == CUBLASLT_MATMUL_DESC_FAST_ACCUM);
static_assert(int{own::kMatmulAScaleMode} == CUBLASLT_MATMUL_DESC_A_SCALE_MODE);
static_assert(int{own::kMatmulBScaleMode} == CUBLASLT_MATMUL_DESC_B_SCALE_MODE);
static_assert(own::kScaleModeOuterVector32F == CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F);
static_assert(int{own::kPreferenceMaxWorkspaceBytes} == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
static_assert(int{own::kAlgorithmId} == CUBLASLT_ALGO_CONFIG_ID);
static_assert(int{own::kAlgorithmTile} == CUBLASLT_ALGO_CONFIG_TILE_ID);
static_assert(int{own::kAlgorithmSplitK} == CUBLASLT_ALGO_CONFIG_SPLITK_NUM);
static_assert(int{own::kAlgorithmStages} == CUBLASLT_ALGO_CONFIG_STAGES_ID);
static_assert(int{own::kAlgorithmClusterShape} == CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID);
#else
#pragma message("cublasLt.h is not there: its declarations are unchecked")
#endif

#if __has_include(<nvml.h>)
#include <nvml.h>

#include "cuda/nvml_types.h"

static_assert(own::kNvmlSuccess == NVML_SUCCESS);
static_assert(own::kNvmlClockSm == NVML_CLOCK_SM && own::kNvmlClockMem == NVML_CLOCK_MEM);
static_assert(own::kNvmlTemperatureGpu == NVML_TEMPERATURE_GPU);
static_assert(own::kNvmlReasonSwPowerCap == nvmlClocksThrottleReasonSwPowerCap);
static_assert(own::kNvmlReasonHwSlowdown == nvmlClocksThrottleReasonHwSlowdown);
static_assert(own::kNvmlReasonSyncBoost == nvmlClocksThrottleReasonSyncBoost);
static_assert(own::kNvmlReasonSwThermalSlowdown == nvmlClocksThrottleReasonSwThermalSlowdown);
static_assert(own::kNvmlReasonHwThermalSlowdown == nvmlClocksThrottleReasonHwThermalSlowdown);
static_assert(own::kNvmlReasonHwPowerBrakeSlowdown == nvmlClocksThrottleReasonHwPowerBrakeSlowdown);
#else
#pragma message("nvml.h is not there: its declarations are unchecked")
#endif
