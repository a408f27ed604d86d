#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cuda/cublaslt.h"
#include "cuda/memory.h"
#include "cuda/stream.h"

namespace nestedfp::cuda {

enum class MatmulKind {
    /// Binary16 operands.
    kFp16,
    /// E4M3 operands, one scale for the weights and one for the activations.
    kFp8PerTensor,
    /// E4M3 operands, one scale per row of the weights and one per token.
    kFp8RowWise,
    /// As kFp8RowWise, with the upper plane for weights and activations in its order of K, both filled up
    /// with zeros.
    kUpperPlane,
};

/// How products of E4M3 operands are added up.
enum class Fp8Sums {
    /// By the tensor cores, which keep some 14 bits.
    kFast,
    /// In FP32 registers, to which those of the tensor cores are added every so often.
    kFp32,
};

/// All row-major and packed.
struct MatmulOperands {
    /// [N, K]
    DevicePointer weights;
    /// [M, K]
    DevicePointer activations;
    /// [M, N]
    DevicePointer out;
    /// FP32, [1] or [N]; 0 for kFp16.
    DevicePointer weight_scale = 0;
    /// FP32, [1] or [M]; 0 for kFp16.
    DevicePointer activation_scale = 0;
};

/// out = X W^T by cuBLASLt, with the algorithm that measured best.
class Matmul {
   public:
    /// Asks the library's heuristic. @throws CudaError where it has no algorithm.
    Matmul(const CublasLt& lt, MatmulKind kind, Fp8Sums sums, uint64_t m, uint64_t n, uint64_t k,
           const DeviceBuffer& workspace);
    ~Matmul();
    Matmul(const Matmul&) = delete;
    Matmul& operator=(const Matmul&) = delete;

    /// Times what the heuristic proposed over `copies` in turn and keeps the best. The outputs are
    /// overwritten.
    void choose(std::span<const MatmulOperands> copies, const Stream& stream);

    void run(const MatmulOperands& operands, const Stream& stream) const;

    /// kCudaR16F, or kCudaR16BF where the library has no binary16 output for these scales.
    CudaDataType out_type() const { return out_type_; }
    /// "algorithm 66, tile 20, stages 36, split 1, cluster 3; best of 8".
    std::string description() const;

   private:
    void describe_problem(MatmulKind kind, Fp8Sums sums, uint64_t m, uint64_t n, uint64_t k);
    std::vector<MatmulHeuristic> ask_heuristic() const;
    CublasStatus try_run(const MatmulAlgorithm& algorithm, const MatmulOperands& operands,
                         const Stream& stream) const;
    void check_run(const MatmulAlgorithm& algorithm, const MatmulOperands& operands,
                   const Stream& stream) const;
    /// Microseconds of one run; infinity where the algorithm refuses.
    double time_of(const MatmulAlgorithm& algorithm, std::span<const MatmulOperands> copies, int runs,
                   const Stream& stream) const;
    void release() noexcept;

    const CublasLt& lt_;
    const DeviceBuffer& workspace_;
    CudaDataType out_type_ = kCudaR16F;
    MatmulDescription description_ = nullptr;
    MatrixLayout weights_ = nullptr;
    MatrixLayout activations_ = nullptr;
    MatrixLayout out_ = nullptr;
    std::vector<MatmulHeuristic> candidates_;
    size_t chosen_ = 0;
};

}  // namespace nestedfp::cuda
