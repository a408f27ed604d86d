// The part of cublasLt.h that is used here, declared anew; compared with the real header like driver_types.h.
#pragma once

#include <cstddef>
#include <cstdint>

namespace nestedfp::cuda {

using CublasStatus = int;
using CublasLtHandle = struct CublasLtTag*;
using MatmulDescription = struct MatmulDescriptionTag*;
using MatrixLayout = struct MatrixLayoutTag*;
using MatmulPreference = struct MatmulPreferenceTag*;

struct MatmulAlgorithm {
    uint64_t data[8];
};

struct MatmulHeuristic {
    MatmulAlgorithm algorithm;
    size_t workspace_bytes;
    CublasStatus state;
    float waves;
    int reserved[4];
};

constexpr CublasStatus kCublasSuccess = 0;
constexpr CublasStatus kCublasNotSupported = 15;

enum CudaDataType : int { kCudaR32F = 0, kCudaR16F = 2, kCudaR16BF = 14, kCudaR8FE4M3 = 28 };
constexpr int kCompute32F = 68;
constexpr int32_t kOperationNone = 0;
constexpr int32_t kOperationTranspose = 1;

enum MatmulAttribute : int {
    kMatmulTransA = 3,
    kMatmulTransB = 4,
    kMatmulAScalePointer = 17,
    kMatmulBScalePointer = 18,
    kMatmulFastAccumulation = 25,
    kMatmulAScaleMode = 31,
    kMatmulBScaleMode = 32,
};
constexpr int32_t kScaleModeOuterVector32F = 3;

enum PreferenceAttribute : int { kPreferenceMaxWorkspaceBytes = 1 };

enum AlgorithmAttribute : int {
    kAlgorithmId = 0,
    kAlgorithmTile = 1,
    kAlgorithmSplitK = 2,
    kAlgorithmStages = 6,
    kAlgorithmClusterShape = 8,
};

}  // namespace nestedfp::cuda
