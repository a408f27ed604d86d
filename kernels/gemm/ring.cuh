// A place in a ring of kStages shared-memory stages and the parity of the round.
#pragma once

#include <cstdint>

namespace nestedfp::gemm {

template <int kStages>
struct Ring {
    uint32_t stage = 0;
    uint32_t parity = 0;

    __device__ __forceinline__ void advance() {
        if (++stage == kStages) {
            stage = 0;
            parity ^= 1;
        }
    }
};

}  // namespace nestedfp::gemm
