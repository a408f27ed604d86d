#pragma once

#include <stdexcept>
#include <string>

#include "cuda/driver_types.h"

namespace nestedfp::cuda {

/// A failed call of the driver or of one of its libraries.
class CudaError : public std::runtime_error {
   public:
    /// @param code the name of the result, such as "CUDA_ERROR_OUT_OF_MEMORY".
    CudaError(std::string code, const std::string& message, std::string hint = "")
        : std::runtime_error(message), code_(std::move(code)), hint_(std::move(hint)) {}

    const std::string& code() const { return code_; }
    const std::string& hint() const { return hint_; }

   private:
    std::string code_;
    std::string hint_;
};

/// "call failed with NAME (description) at file:line".
std::string failure_text(const char* call, const std::string& name, const std::string& description,
                         const char* file, int line);

/// @throws CudaError unless the result is CUDA_SUCCESS.
void check(Result result, const char* call, const char* file, int line);

}  // namespace nestedfp::cuda

/// CUDA_CALL(driver().cuMemAlloc(&pointer, bytes)) throws a CudaError that names the call and this line.
#define CUDA_CALL(call) ::nestedfp::cuda::check((call), #call, __FILE__, __LINE__)
