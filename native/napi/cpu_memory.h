#pragma once

#include <string>

#include "cpu/linear.h"
#include "napi/cpu_arguments.h"
#include "napi/cpu_handles.h"

namespace nestedfp::napi {

/// Zeros. @throws std::bad_alloc
CpuHandle new_activations(const void* owner, size_t rows, size_t cols);

CpuHandle new_constants(const void* owner, std::vector<float> values);

/// From the arguments (kind, rows, cols, bytes, lower | scales, shifts); keeps the arrays.
CpuHandle read_weights(CpuArguments& arguments, const void* owner, const std::string& kind, size_t rows,
                       size_t cols);

/// @throws Napi::RangeError unless the weights can be looked up by row.
cpu::Table table_of(const Napi::CallbackInfo& info, const CpuHandle& handle);

/// Sets weights and row_scales of a call. @throws Napi::RangeError unless the weights have that precision.
void choose_loader(const Napi::CallbackInfo& info, const CpuHandle& handle, const std::string& precision,
                   cpu::LinearArguments& call);

}  // namespace nestedfp::napi
