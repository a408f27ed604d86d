#pragma once

#include <cstdint>
#include <span>

#include "cpu/engine.h"
#include "cpu/matrix_view.h"

namespace nestedfp::cpu {

enum class TableDtype { kHalf, kBf16, kFp32 };

/// Rows of words, one for each id of a vocabulary.
struct Table {
    const uint8_t* words;
    TableDtype dtype;
    size_t rows;
    size_t cols;
};

/// out[t] = table[ids[t]]; every id is below table.rows.
void embedding(Engine& engine, const Table& table, std::span<const int32_t> ids, const MatrixView& out);

/// Each `group` neighbouring columns are normalised on their own; out may be x.
void rms_norm(Engine& engine, const MatrixView& x, const float* weight, size_t group, float eps,
              const MatrixView& out);

/// Rotates the first 2 * half columns of each head_dim columns, in place; cos and sin [positions, half].
struct RopeArguments {
    MatrixView x;
    size_t head_dim;
    size_t half;
    const float* cos;
    const float* sin;
    std::span<const int32_t> positions;
};
void rope(Engine& engine, const RopeArguments& arguments);

/// out may be gate or up.
void silu_mul(Engine& engine, const MatrixView& gate, const MatrixView& up, const MatrixView& out);

void add(Engine& engine, const MatrixView& x, const MatrixView& y);

}  // namespace nestedfp::cpu
