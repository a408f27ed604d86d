#include "napi/cpu_arguments.h"

namespace nestedfp::napi {
namespace {

bool overlap(const cpu::MatrixView& a, const cpu::MatrixView& b) {
    const float* a_end = a.row(a.rows - 1) + a.cols;
    const float* b_end = b.row(b.rows - 1) + b.cols;
    if (a_end <= b.data || b_end <= a.data) return false;
    if (a.stride != b.stride) return true;
    // Two views of one matrix: compare the columns, of which those of b begin `offset` after those of a.
    const auto stride = static_cast<ptrdiff_t>(a.stride);
    const auto offset = static_cast<size_t>(((b.data - a.data) % stride + stride) % stride);
    return offset < a.cols || offset + b.cols > a.stride;
}

}  // namespace

std::string shape_text(size_t rows, size_t cols) {
    return std::to_string(rows) + " x " + std::to_string(cols);
}

const CpuHandle& CpuArguments::handle(size_t at, const char* name) {
    const CpuHandle& handle = unwrap(info_[at], name, owner_);
    held_.push_back(handle.memory);
    return handle;
}

cpu::MatrixView CpuArguments::activations(size_t at, const char* name) {
    const auto* view = std::get_if<cpu::MatrixView>(&handle(at, name).value);
    if (view == nullptr) throw type_error(info_[at], name, "activations");
    return *view;
}

Constants CpuArguments::constants(size_t at, const char* name) {
    const auto* constants = std::get_if<Constants>(&handle(at, name).value);
    if (constants == nullptr) throw type_error(info_[at], name, "constants");
    return *constants;
}

const CpuHandle& CpuArguments::weights(size_t at, const char* name) { return handle(at, name); }

std::vector<float> CpuArguments::floats(size_t at, const char* name) {
    const Napi::Value value = info_[at];
    if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_float32_array) {
        throw type_error(value, name, "a Float32Array");
    }
    const auto array = value.As<Napi::Float32Array>();
    return {array.Data(), array.Data() + array.ElementLength()};
}

std::vector<int32_t> CpuArguments::integers(size_t at, const char* name) {
    const Napi::Value value = info_[at];
    if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_int32_array) {
        throw type_error(value, name, "an Int32Array");
    }
    const auto array = value.As<Napi::Int32Array>();
    return {array.Data(), array.Data() + array.ElementLength()};
}

std::vector<int32_t> CpuArguments::indices(size_t at, const char* name, size_t count, size_t end) {
    std::vector<int32_t> values = integers(at, name);
    check(values.size() == count, name, std::to_string(count) + " values", std::to_string(values.size()));
    for (size_t n = 0; n < count; ++n) {
        const int32_t value = values[n];
        if (value >= 0 && static_cast<size_t>(value) < end) continue;
        check(false, name, "0 to " + std::to_string(end - 1),
              std::to_string(value) + " at index " + std::to_string(n));
    }
    return values;
}

double CpuArguments::number(size_t at, const char* name) {
    const Napi::Value value = info_[at];
    if (!value.IsNumber()) throw type_error(value, name, "a number");
    return value.As<Napi::Number>().DoubleValue();
}

void CpuArguments::check(bool is_right, const char* name, const std::string& expected,
                         const std::string& got) const {
    if (is_right) return;
    throw Napi::RangeError::New(env(), std::string(name) + ": expected " + expected + ", got " + got);
}

void CpuArguments::check_shape(const cpu::MatrixView& matrix, const char* name, size_t rows,
                               size_t cols) const {
    if (matrix.rows == rows && matrix.cols == cols) return;
    check(false, name, shape_text(rows, cols), shape_text(matrix.rows, matrix.cols));
}

void CpuArguments::check_apart(const cpu::MatrixView& out, const cpu::MatrixView& in, const char* name,
                               bool or_same) const {
    if (!overlap(out, in)) return;
    const bool is_same = out.data == in.data && out.stride == in.stride;
    if (or_same && is_same) return;
    check(false, "out", std::string("memory apart from ") + name, "memory that overlaps it");
}

}  // namespace nestedfp::napi
