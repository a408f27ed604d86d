#pragma once

#include "cpu/engine.h"
#include "cpu/matrix_view.h"

namespace nestedfp::cpu {

struct LinearArguments {
    MatrixView x;        // [tokens, K]
    WeightView weights;  // [N, K]
    MatrixView out;      // [tokens, N]
    /// Multiplies each output column; nullptr: 1.
    const float* row_scales = nullptr;
    /// [N] or nullptr.
    const float* bias = nullptr;
    /// E4M3 with one scale per token.
    bool quantise_x = false;
};

/// out = x * weights^T. Which of two orders of summation is taken depends on the number of tokens alone, see
/// Implementation::dot and ::tile: so two loaders of equal values give equal bits.
///
/// Memory: the x of up to 8 tokens, padded, or of a block of up to 512 tokens, at most 16 MiB; per thread, up
/// to 96 rows of weights times kBlockSteps, and their sums for a block of tokens: 0.3 MiB.
void linear(Engine& engine, const LinearArguments& arguments);

}  // namespace nestedfp::cpu
