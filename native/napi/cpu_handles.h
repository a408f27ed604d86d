#pragma once

#include <napi.h>

#include <memory>
#include <variant>
#include <vector>

#include "cpu/matrix_view.h"
#include "cpu/row_operations.h"
#include "cpu/weight_view.h"
#include "napi/promise_runner.h"

namespace nestedfp::napi {

/// Memory that queued operations use; let go of on the main thread alone, as it may hold references to JS
/// objects.
using Held = std::shared_ptr<const void>;

/// Planes of one loader or the other, by precision.
struct NestedWeights {
    cpu::WeightView view;
    bool has_lower;
};

struct HalfWeights {
    cpu::WeightView view;
};

struct Fp8Weights {
    cpu::WeightView view;
    /// Of the bytes read as binary16: the caller's scales times 256.
    const float* scales;
};

/// FP32 on one row.
struct Constants {
    const float* data;
    size_t length;
};

/// What src/device/cpu.ts holds of a device's memory.
struct CpuHandle {
    /// The device that made it.
    const void* owner;
    /// Empty when freed.
    Held memory;
    std::variant<cpu::MatrixView, Constants, HalfWeights, NestedWeights, Fp8Weights, cpu::Table> value;
    /// Told to the garbage collector; 0 for a view.
    int64_t bytes = 0;

    void free(Napi::Env env);
};

Napi::Value wrap(Napi::Env env, CpuHandle handle);

/// @throws Napi::TypeError unless the value is a handle of this owner that is not freed.
CpuHandle& unwrap(const Napi::Value& value, const char* name, const void* owner);

}  // namespace nestedfp::napi
