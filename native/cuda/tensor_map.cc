#include "cuda/tensor_map.h"

#include <string>

#include "cuda/driver_api.h"
#include "cuda/error.h"

namespace nestedfp::cuda {
namespace {

TensorMapL2Promotion promotion_of(uint32_t bytes) {
    return bytes == 256 ? kTensorMapL2_256B : bytes == 128 ? kTensorMapL2_128B : kTensorMapL2None;
}

TensorMapSwizzle swizzle_of(const kernels::TensorMapSpec& spec) {
    const uint32_t bytes = spec.box_cols * (spec.type == kernels::ElementType::kFloat16 ? 2 : 1);
    return bytes == 128 ? kTensorMapSwizzle128B : kTensorMapSwizzleNone;
}

std::string text_of(const kernels::TensorMapSpec& spec) {
    return std::string(spec.type == kernels::ElementType::kFloat16 ? "float16" : "uint8") + " [" +
           std::to_string(spec.rows) + ", " + std::to_string(spec.cols) + "] pitch " +
           std::to_string(spec.pitch) + " box [" + std::to_string(spec.box_rows) + ", " +
           std::to_string(spec.box_cols) + "]";
}

}  // namespace

kernels::TensorMap encode_tensor_map(const kernels::TensorMapSpec& spec, DevicePointer base) {
    kernels::TensorMap map{};
    const uint64_t dimensions[] = {spec.cols, spec.rows};
    const uint64_t strides[] = {spec.pitch};
    const uint32_t box[] = {spec.box_cols, spec.box_rows};
    const uint32_t element_strides[] = {1, 1};
    const Result result = driver().cuTensorMapEncodeTiled(
        map.bytes, spec.type == kernels::ElementType::kFloat16 ? kTensorMapFloat16 : kTensorMapUint8, 2,
        reinterpret_cast<void*>(base), dimensions, strides, box, element_strides, kTensorMapInterleaveNone,
        swizzle_of(spec), promotion_of(spec.l2_promotion), kTensorMapFillZeros);
    if (result != kSuccess) {
        const std::string call = "cuTensorMapEncodeTiled(" + text_of(spec) + ")";
        check(result, call.c_str(), __FILE__, __LINE__);
    }
    return map;
}

}  // namespace nestedfp::cuda
