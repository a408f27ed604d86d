#pragma once

#include "cuda/driver_types.h"
#include "interface/launch_plan.h"

namespace nestedfp::cuda {

/// What the copy engine needs to know of a matrix; zeros outside of it. @throws CudaError with all values.
kernels::TensorMap encode_tensor_map(const kernels::TensorMapSpec& spec, DevicePointer base);

}  // namespace nestedfp::cuda
