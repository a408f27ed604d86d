#pragma once

#include <cstddef>
#include <cstdint>

namespace nestedfp::cpu {

/// How the bytes of a weight become a value; the index of the kernels for it.
enum class Loader : size_t { kHalf, kNestedHalf, kNestedFp8, kFp8 };
constexpr size_t kLoaders = 4;

/// Weights [rows, cols], row-major, at any address.
struct WeightView {
    Loader loader = Loader::kHalf;
    /// binary16 words, upper bytes or E4M3 bytes.
    const uint8_t* bytes = nullptr;
    /// Of kNestedHalf.
    const uint8_t* lower = nullptr;
    /// The exponent s of each row of the nested loaders, 0..15; nullptr: all 0.
    const uint8_t* shifts = nullptr;
    size_t rows = 0;
    size_t cols = 0;

    int shift(size_t row) const { return shifts == nullptr ? 0 : shifts[row]; }
};

}  // namespace nestedfp::cpu
