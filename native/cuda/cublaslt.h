#pragma once

#include <string>

#include "cuda/cublaslt_types.h"
#include "cuda/library.h"

namespace nestedfp::cuda {

// NAME without its prefix cublasLt, parameters. All return a cublasStatus_t.
#define NESTEDFP_CUBLASLT_FUNCTIONS(X)                                                                      \
    X(Create, (CublasLtHandle*))                                                                            \
    X(Destroy, (CublasLtHandle))                                                                            \
    X(MatmulDescCreate, (MatmulDescription*, int, CudaDataType))                                            \
    X(MatmulDescDestroy, (MatmulDescription))                                                               \
    X(MatmulDescSetAttribute, (MatmulDescription, MatmulAttribute, const void*, size_t))                    \
    X(MatrixLayoutCreate, (MatrixLayout*, CudaDataType, uint64_t, uint64_t, int64_t))                       \
    X(MatrixLayoutDestroy, (MatrixLayout))                                                                  \
    X(MatmulPreferenceCreate, (MatmulPreference*))                                                          \
    X(MatmulPreferenceDestroy, (MatmulPreference))                                                          \
    X(MatmulPreferenceSetAttribute, (MatmulPreference, PreferenceAttribute, const void*, size_t))           \
    X(MatmulAlgoGetHeuristic, (CublasLtHandle, MatmulDescription, MatrixLayout, MatrixLayout, MatrixLayout, \
                               MatrixLayout, MatmulPreference, int, MatmulHeuristic*, int*))                \
    X(MatmulAlgoConfigGetAttribute, (const MatmulAlgorithm*, AlgorithmAttribute, void*, size_t, size_t*))   \
    X(Matmul, (CublasLtHandle, MatmulDescription, const void*, const void*, MatrixLayout, const void*,      \
               MatrixLayout, const void*, const void*, MatrixLayout, void*, MatrixLayout,                   \
               const MatmulAlgorithm*, void*, size_t, void*))

/// NVIDIA's matrix library, the baseline of every comparison.
class CublasLt {
   public:
    /// Of the current context. @throws CudaError where no libcublasLt of CUDA 12 or 13 is found.
    CublasLt();
    ~CublasLt();
    CublasLt(const CublasLt&) = delete;
    CublasLt& operator=(const CublasLt&) = delete;

    CublasLtHandle handle() const { return handle_; }
    /// Such as "13.1.0".
    std::string version() const { return version_; }
    const std::string& path() const { return library_.path(); }

#define NESTEDFP_MEMBER(name, parameters) CublasStatus(*name) parameters;
    NESTEDFP_CUBLASLT_FUNCTIONS(NESTEDFP_MEMBER)
#undef NESTEDFP_MEMBER

    /// @throws CudaError unless the status is CUBLAS_STATUS_SUCCESS.
    void check(CublasStatus status, const char* call, const char* file, int line) const;

   private:
    Library library_;
    std::string version_;
    CublasLtHandle handle_ = nullptr;
};

/// The version of a libcublasLt on this machine and where it lies, without a device. @throws CudaError.
struct CublasLtFile {
    std::string version;
    std::string path;
};
CublasLtFile find_cublaslt();

}  // namespace nestedfp::cuda

/// CUBLASLT_CALL(lt, MatmulDescCreate(...)) throws a CudaError that names the call and this line.
#define CUBLASLT_CALL(lt, call) (lt).check((lt).call, "cublasLt" #call, __FILE__, __LINE__)
