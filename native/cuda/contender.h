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
};

/// One way to run a precision.
struct Contender {
    Precision precision;
    /// "cublaslt", "cublaslt_rowwise", or "<row of interface/configs.h>/<name_of a schedule>".
    std::string config;
    std::variant<LibraryKernel, OwnKernel> kernel;
};

/// @throws CudaError when no kernel of this name computes this precision.
Contender contender_named(Precision precision, const std::string& config);

const char* name_of(kernels::Schedule schedule);

/// The configuration that reads plain words but adds up in the same order, whose output must be the same
/// bits: nullptr where the table has none.
const kernels::GemmConfig* plain_twin(const OwnKernel& kernel);

}  // namespace nestedfp::cuda
