#include "cpu/quantise.h"

#include <cmath>
#include <cstring>

#include "codec/float16.h"
#include "cpu/e4m3.h"
#include "cpu/for_rows.h"

namespace nestedfp::cpu {
namespace {

/// Decodes a row block by block and hands each block to `body`(first column, columns, values).
template <typename Body>
void for_blocks(const Implementation& kernels, const WeightView& weights, size_t row, const Body& body) {
    float values[kBlockSteps];
    for (size_t k = 0; k < weights.cols; k += kBlockSteps) {
        const size_t count = std::min(kBlockSteps, weights.cols - k);
        kernels.decode_of(weights.loader)(weights, row, k, count, values);
        body(k, count, values);
    }
}

/// E4M3 values divided by 256 are binary16 words whose bits are those of the byte, and shifted.
void to_e4m3_bytes(const Implementation& kernels, float* values, size_t count, float scale, uint8_t* bytes) {
    uint16_t halves[kBlockSteps];
    kernels.quantise(values, count, scale, values);
    for (size_t k = 0; k < count; ++k) values[k] *= 1 / kE4m3OfHalf;
    kernels.to_half(values, count, halves);
    for (size_t k = 0; k < count; ++k) bytes[k] = e4m3_of_half(halves[k]);
}

template <typename Load>
void to_half(Engine& engine, size_t count, uint16_t* halves, const Load& load) {
    const size_t blocks = (count + kBlockSteps - 1) / kBlockSteps;
    for_rows(engine, blocks, kBlockSteps, [&](size_t block) {
        const size_t first = block * kBlockSteps;
        const size_t size = std::min(kBlockSteps, count - first);
        float values[kBlockSteps];
        load(first, size, values);
        engine.kernels.to_half(values, size, halves + first);
    });
}

}  // namespace

void quantise_fp8(Engine& engine, const uint8_t* words, size_t rows, size_t cols, uint8_t* bytes,
                  float* scales) {
    const Implementation& kernels = engine.kernels;
    const WeightView weights{.bytes = words, .rows = rows, .cols = cols};
    for_rows(engine, rows, cols, [&](size_t row) {
        float most = 0;
        for_blocks(kernels, weights, row, [&](size_t, size_t count, const float* values) {
            const float block = kernels.max_magnitude(values, count);
            // std::max would lose a NaN, and with it the row would become numbers.
            if (block > most || std::isnan(block)) most = block;
        });
        const float scale = most == 0 ? 1 : most / kE4m3Max;
        scales[row] = scale;
        for_blocks(kernels, weights, row, [&](size_t first, size_t count, float* values) {
            to_e4m3_bytes(kernels, values, count, scale, bytes + row * cols + first);
        });
    });
}

void bf16_to_half(Engine& engine, const uint8_t* words, size_t count, uint16_t* halves) {
    to_half(engine, count, halves, [words](size_t first, size_t size, float* values) {
        for (size_t k = 0; k < size; ++k) {
            uint16_t word;
            std::memcpy(&word, words + 2 * (first + k), 2);
            values[k] = codec::bf16_to_float(word);
        }
    });
}

void fp32_to_half(Engine& engine, const uint8_t* words, size_t count, uint16_t* halves) {
    to_half(engine, count, halves, [words](size_t first, size_t size, float* values) {
        std::memcpy(values, words + 4 * first, 4 * size);
    });
}

}  // namespace nestedfp::cpu
