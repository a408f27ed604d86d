#pragma once

// exp(x) as 2^n * p(r), x = n ln 2 + r, |r| <= ln 2 / 2; p from Cephes' expf (S. Moshier). Within 1.5 units
// in the last place of FP32. Below kLeast the result is 0, above kMost infinity: both a little early, so that
// 2^n is normal.
namespace nestedfp::cpu::exp_constants {

constexpr float kLeast = -87.33654F;
constexpr float kMost = 88.37626F;
constexpr float kLog2E = 1.44269504F;
/// Adding 1.5 * 2^23 rounds to an integer, which then stands in the low bits.
constexpr float kRound = 12582912.0F;
constexpr float kLn2High = 0.693145752F;
constexpr float kLn2Low = 1.42860677e-6F;
constexpr float kP[] = {1.9875691500e-4F, 1.3981999507e-3F, 8.3334519073e-3F,
                        4.1665795894e-2F, 1.6666665459e-1F, 5.0000001201e-1F};

}  // namespace nestedfp::cpu::exp_constants
