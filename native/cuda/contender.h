#pragma once

#include <string>
#include <variant>
#include <vector>

#include "cuda/matmul.h"
#include "interface/configs.h"
#include "interface/launch_plan.h"

namespace nestedfp::cuda {

/// As src/device/device.ts names them.
enum class Precision { kFp16, kNestedFp16, kNestedFp8, kFp8 };

/// @throws CudaError for another name.
Precision precision_named(const std::string& name);

/// A kernel of our own and how its tiles are shared out.
struct OwnKernel {
    const kernels::GemmConfig* config;
    kernels::Schedule schedule;
};

struct LibraryKernel {
    MatmulKind kind;
    /// E4M3 alone.
    Fp8Sums sums = Fp8Sums::kFast;
};

/// One way to run a precision.
struct Contender {
    Precision precision;
    /// "cublaslt", "cublaslt_rowwise", either with "_f32" for Fp8Sums::kFp32, or "<row of
    /// interface/configs.h>/<name_of a schedule>".
    std::string config;
    std::variant<LibraryKernel, OwnKernel> kernel;
};

/// @throws CudaError when no kernel of this name computes this precision.
Contender contender_named(Precision precision, const std::string& config);

const char* name_of(kernels::Schedule schedule);

/// Whether its activations are E4M3.
bool reads_fp8_activations(const Contender& contender);

/// Whether it multiplies E4M3 operands and leaves the sums to the tensor cores.
bool sums_fp8_fast(const Contender& contender);

/// The configuration that reads plain words but adds up in the same order, whose output must be the same
/// bits: nullptr where the table has none.
const kernels::GemmConfig* plain_twin(const OwnKernel& kernel);

}  // namespace nestedfp::cuda
