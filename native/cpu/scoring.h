#pragma once

#include <cstdint>
#include <span>

#include "cpu/engine.h"
#include "cpu/matrix_view.h"

namespace nestedfp::cpu {

/// -ln softmax(logits[t])[targets[t]] of each row, FP64 sums of FP32 exponentials. NaN where a logit is NaN
/// or +infinity.
void nll(Engine& engine, const MatrixView& logits, std::span<const int32_t> targets, double* result);

/// One entry a row, see Comparison in src/device/device.ts.
struct ComparisonColumns {
    double* kl;
    uint8_t* same_top1;
    double* delta_p;
};
void compare(Engine& engine, const MatrixView& reference, const MatrixView& logits,
             std::span<const int32_t> targets, const ComparisonColumns& result);

/// Whether a value is NaN or infinite.
bool any_non_finite(Engine& engine, const MatrixView& x);

/// The first row-major index whose bits differ, or -1; the shapes are equal.
int64_t first_difference(Engine& engine, const MatrixView& a, const MatrixView& b);

}  // namespace nestedfp::cpu
