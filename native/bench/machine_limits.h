#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "cpu/team.h"

namespace nestedfp::bench {

/// GFLOP/s of FP32 fused multiply-adds on registers, all threads, in the vectors of that implementation.
double fma_gflops(cpu::Team& team, std::string_view implementation);

/// GB/s of reading the words once, all threads.
double read_gigabytes(cpu::Team& team, const std::vector<uint16_t>& words);

}  // namespace nestedfp::bench
