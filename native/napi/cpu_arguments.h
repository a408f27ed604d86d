#pragma once

#include <string>
#include <vector>

#include "napi/arguments.h"
#include "napi/cpu_handles.h"

namespace nestedfp::napi {

/// Of a dimension; no product of two overflows.
constexpr uint64_t kMostRows = (uint64_t{1} << 31) - 1;

/// Reads the arguments of an operation of the CPU device, and holds the memory behind its handles.
class CpuArguments : public Arguments {
   public:
    CpuArguments(const Napi::CallbackInfo& info, const void* owner) : Arguments(info), owner_(owner) {}

    cpu::MatrixView activations(size_t at, const char* name);
    Constants constants(size_t at, const char* name);
    /// Any of the weights or a table, unchecked.
    const CpuHandle& weights(size_t at, const char* name);

    /// A copy.
    std::vector<float> floats(size_t at, const char* name);
    /// A copy; each value is in 0 .. end - 1.
    std::vector<int32_t> indices(size_t at, const char* name, size_t count, size_t end);
    std::vector<int32_t> integers(size_t at, const char* name);
    double number(size_t at, const char* name);

    /// @throws Napi::RangeError "name: expected ..., got ...".
    void check(bool is_right, const char* name, const std::string& expected, const std::string& got) const;
    void check_shape(const cpu::MatrixView& matrix, const char* name, size_t rows, size_t cols) const;
    /// `out` may be `in` if they are the same in all, where `or_same`.
    void check_apart(const cpu::MatrixView& out, const cpu::MatrixView& in, const char* name,
                     bool or_same = false) const;

    std::vector<Held> take_held() { return std::move(held_); }

   private:
    const CpuHandle& handle(size_t at, const char* name);

    const void* owner_;
    std::vector<Held> held_;
};

/// "3 x 4"
std::string shape_text(size_t rows, size_t cols);

}  // namespace nestedfp::napi
