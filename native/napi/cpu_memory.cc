#include "napi/cpu_memory.h"

#include <algorithm>

#include "cpu/e4m3.h"
#include "cpu/scratch.h"

namespace nestedfp::napi {
namespace {

/// FORMAT.md §2.
constexpr unsigned kMostShift = 15;

/// The arrays of weights, and what was computed from them.
struct WeightMemory {
    Pins pins;
    std::vector<float> scales;
};

void check_shifts(const CpuArguments& arguments, const Bytes& shifts) {
    for (size_t row = 0; row < shifts.size; ++row) {
        if (shifts.data[row] <= kMostShift) continue;
        arguments.check(false, "shifts", "0 to " + std::to_string(kMostShift),
                        std::to_string(shifts.data[row]) + " for row " + std::to_string(row));
    }
}

NestedWeights read_nested(CpuArguments& arguments, cpu::WeightView view) {
    const std::string shape = shape_text(view.rows, view.cols);
    view.bytes = arguments.bytes_of_size(3, "upper", view.rows * view.cols, shape).data;
    const bool has_lower = !arguments.is_undefined(4);
    if (has_lower) view.lower = arguments.bytes_of_size(4, "lower", view.rows * view.cols, shape).data;
    if (!arguments.is_undefined(5)) {
        const Bytes shifts = arguments.bytes_of_size(5, "shifts", view.rows, "one a row");
        check_shifts(arguments, shifts);
        view.shifts = shifts.data;
    }
    return {view, has_lower};
}

Fp8Weights read_fp8(CpuArguments& arguments, cpu::WeightView view, std::vector<float>& scales) {
    view.loader = cpu::Loader::kFp8;
    view.bytes =
        arguments.bytes_of_size(3, "bytes", view.rows * view.cols, shape_text(view.rows, view.cols)).data;
    scales = arguments.floats(4, "scales");
    arguments.check(scales.size() == view.rows, "scales", std::to_string(view.rows) + " values",
                    std::to_string(scales.size()));
    for (float& scale : scales) scale *= cpu::kE4m3OfHalf;
    return {view, scales.data()};
}

}  // namespace

CpuHandle new_activations(const void* owner, size_t rows, size_t cols) {
    const auto memory = std::make_shared<cpu::FloatBuffer>();
    float* data = memory->at_least(rows * cols);
    std::fill(data, data + rows * cols, 0.0F);
    const cpu::MatrixView view{data, rows, cols, cols};
    return {owner, memory, view, static_cast<int64_t>(rows * cols * sizeof(float))};
}

CpuHandle new_constants(const void* owner, std::vector<float> values) {
    const auto bytes = static_cast<int64_t>(values.size() * sizeof(float));
    const auto memory = std::make_shared<const std::vector<float>>(std::move(values));
    return {owner, memory, Constants{memory->data(), memory->size()}, bytes};
}

CpuHandle read_weights(CpuArguments& arguments, const void* owner, const std::string& kind, size_t rows,
                       size_t cols) {
    const auto memory = std::make_shared<WeightMemory>();
    CpuHandle handle{owner, memory, cpu::MatrixView{}};
    const cpu::WeightView view{.rows = rows, .cols = cols};
    const auto words = [&](size_t width) {
        const std::string meaning = shape_text(rows, cols) + " x " + std::to_string(width) + " bytes";
        return arguments.bytes_of_size(3, "words", rows * cols * width, meaning).data;
    };
    if (kind == "fp16") {
        handle.value = HalfWeights{{.bytes = words(2), .rows = rows, .cols = cols}};
    } else if (kind == "nested") {
        handle.value = read_nested(arguments, view);
    } else if (kind == "fp8") {
        handle.value = read_fp8(arguments, view, memory->scales);
    } else if (kind == "bf16") {
        handle.value = cpu::Table{words(2), cpu::TableDtype::kBf16, rows, cols};
    } else if (kind == "fp32") {
        handle.value = cpu::Table{words(4), cpu::TableDtype::kFp32, rows, cols};
    } else {
        arguments.check(false, "kind", "fp16, nested, fp8, bf16 or fp32", '"' + kind + '"');
    }
    memory->pins = arguments.take_pins();
    return handle;
}

cpu::Table table_of(const Napi::CallbackInfo& info, const CpuHandle& handle) {
    if (const auto* table = std::get_if<cpu::Table>(&handle.value)) return *table;
    if (const auto* half = std::get_if<HalfWeights>(&handle.value)) {
        return {half->view.bytes, cpu::TableDtype::kHalf, half->view.rows, half->view.cols};
    }
    throw Napi::RangeError::New(info.Env(),
                                "table: expected weights of kind fp16, bf16 or fp32, got another kind");
}

void choose_loader(const Napi::CallbackInfo& info, const CpuHandle& handle, const std::string& precision,
                   cpu::LinearArguments& call) {
    if (const auto* half = std::get_if<HalfWeights>(&handle.value); half != nullptr && precision == "fp16") {
        call.weights = half->view;
        return;
    }
    if (const auto* fp8 = std::get_if<Fp8Weights>(&handle.value); fp8 != nullptr && precision == "fp8") {
        call.weights = fp8->view;
        call.row_scales = fp8->scales;
        return;
    }
    if (const auto* nested = std::get_if<NestedWeights>(&handle.value); nested != nullptr) {
        call.weights = nested->view;
        if (precision == "nested-fp8") {
            call.weights.loader = cpu::Loader::kNestedFp8;
            return;
        }
        if (precision == "nested-fp16" && nested->has_lower) {
            call.weights.loader = cpu::Loader::kNestedHalf;
            return;
        }
    }
    throw Napi::RangeError::New(
        info.Env(),
        "precision: expected one that these weights have (fp16: fp16; fp8: fp8; nested: nested-fp8, "
        "with a lower plane also nested-fp16), got \"" +
            precision + '"');
}

}  // namespace nestedfp::napi
