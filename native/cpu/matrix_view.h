#pragma once

#include <cstddef>

namespace nestedfp::cpu {

/// FP32, row-major, `stride` values from row to row; the columns may be a part of a wider matrix.
struct MatrixView {
    float* data = nullptr;
    size_t rows = 0;
    size_t cols = 0;
    size_t stride = 0;

    float* row(size_t at) const { return data + at * stride; }
};

}  // namespace nestedfp::cpu
