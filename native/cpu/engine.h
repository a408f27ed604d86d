#pragma once

#include <vector>

#include "cpu/implementation.h"
#include "cpu/scratch.h"
#include "cpu/team.h"

namespace nestedfp::cpu {

/// What every operation runs on; one operation at a time. linear.h and attention.h say how much memory they
/// keep here.
class Engine {
   public:
    Engine(const Implementation& implementation, unsigned threads)
        : kernels(implementation), team(threads), per_thread_(threads) {}

    /// Before the pieces of an operation, which must not throw.
    void reserve_per_thread(size_t count) {
        for (FloatBuffer& buffer : per_thread_) buffer.at_least(count);
    }
    float* of_thread(size_t thread) { return per_thread_[thread].at_least(0); }

    const Implementation& kernels;
    Team team;
    FloatBuffer shared;

   private:
    std::vector<FloatBuffer> per_thread_;
};

}  // namespace nestedfp::cpu
