// The order of K on the device (KERNELS.md section 3).
#pragma once

#include <cstdint>

namespace nestedfp::kernels {

/// Which element of its row lies at byte `position` of a device plane: inside a group of 64, position
/// 16c + 4j + 2h + e holds element 16j + 8h + 2c + e.
__host__ __device__ constexpr int64_t element_at(int64_t position) {
    const int64_t p = position % 64;
    const int64_t c = p / 16, j = p / 4 % 4, h = p / 2 % 2, e = p % 2;
    return position - p + 16 * j + 8 * h + 2 * c + e;
}

}  // namespace nestedfp::kernels
