#pragma once

#include <cstdint>

#include "cpu/engine.h"

namespace nestedfp::cpu {

/// binary16 words [rows, cols]: scales[n] = max|w| / 448, 1 if that is 0, NaN if a w is;
/// bytes = E4M3(w / scales[n]).
void quantise_fp8(Engine& engine, const uint8_t* words, size_t rows, size_t cols, uint8_t* bytes,
                  float* scales);

/// Words of 2 (bfloat16) or 4 (binary32) bytes to binary16, nearest even.
void bf16_to_half(Engine& engine, const uint8_t* words, size_t count, uint16_t* halves);
void fp32_to_half(Engine& engine, const uint8_t* words, size_t count, uint16_t* halves);

}  // namespace nestedfp::cpu
