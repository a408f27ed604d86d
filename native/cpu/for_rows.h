#pragma once

#include <algorithm>

#include "cpu/engine.h"

namespace nestedfp::cpu {

/// A piece of work on fewer values than this is not worth a thread's attention.
constexpr size_t kLeastPieceValues = 1 << 15;

/// Calls body(row) for each row, in pieces of whole rows; `values_per_row` measures its work.
template <typename Body>
void for_rows(Engine& engine, size_t rows, size_t values_per_row, const Body& body) {
    const size_t least = kLeastPieceValues / std::max<size_t>(values_per_row, 1) + 1;
    const size_t step = std::max(least, rows / (engine.team.threads() * 4));
    engine.team.run((rows + step - 1) / step, [&](size_t piece, size_t) {
        const size_t end = std::min(rows, (piece + 1) * step);
        for (size_t row = piece * step; row < end; ++row) body(row);
    });
}

}  // namespace nestedfp::cpu
