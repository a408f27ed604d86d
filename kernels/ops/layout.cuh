// The order of K on the device: as KERNELS.md section 3 has it for groups of 64, for groups of 128.
#pragma once

#include <cstdint>

namespace nestedfp::kernels {

/// Which element of its row lies at byte `position` of a device plane: inside a group of 128, position
/// 32c + 16q + 4j + 2h + e holds element 64q + 16j + 8h + 2c + e.
__host__ __device__ constexpr int64_t element_at(int64_t position) {
    const int64_t p = position % 128;
    const int64_t c = p / 32, q = p / 16 % 2, j = p / 4 % 4, h = p / 2 % 2, e = p % 2;
    return position - p + 64 * q + 16 * j + 8 * h + 2 * c + e;
}

}  // namespace nestedfp::kernels
