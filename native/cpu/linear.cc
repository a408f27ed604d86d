#include "cpu/linear.h"

#include <algorithm>
#include <cstring>

#include "cpu/e4m3.h"

namespace nestedfp::cpu {
namespace {

/// Up to here the weights stream from memory straight into the products.
constexpr size_t kFewTokens = 8;

/// A block of tokens is packed at once, and the weights are decoded again for each block.
constexpr size_t kMostBlockTokens = 512;
constexpr size_t kMostPackedValues = 4 << 20;

/// Rows of weights decoded at once: kBlockSteps of each make 96 KiB, which stay in the second-level cache.
constexpr size_t kPanelRows = 96;

/// Below this many multiplications waking a thread costs more than it brings.
constexpr size_t kLeastPieceProducts = 1 << 17;

constexpr size_t round_up(size_t n, size_t step) { return (n + step - 1) / step * step; }

/// 1 where the row is all zero, or so near to it that the scale underflows; not finite where a value is not.
float token_scale(const Implementation& kernels, const float* x, size_t count) {
    const float scale = kernels.max_magnitude(x, count) / kE4m3Max;
    return scale == 0 ? 1 : scale;
}

/// values = values * row scale * token scale + bias.
void finish_row(const LinearArguments& arguments, size_t first, size_t count, float token_scale,
                float* values) {
    if (arguments.row_scales != nullptr) {
        for (size_t n = 0; n < count; ++n) values[n] *= arguments.row_scales[first + n];
    }
    if (arguments.quantise_x) {
        for (size_t n = 0; n < count; ++n) values[n] *= token_scale;
    }
    if (arguments.bias != nullptr) {
        for (size_t n = 0; n < count; ++n) values[n] += arguments.bias[first + n];
    }
}

/// Rows of one piece of work: enough pieces that threads which others hold up do not matter.
size_t rows_per_piece(const Engine& engine, size_t rows, size_t products_per_row, size_t step, size_t most) {
    const size_t pieces = engine.team.threads() == 1 ? 1 : engine.team.threads() * 8;
    const size_t least = kLeastPieceProducts / std::max<size_t>(products_per_row, 1) + 1;
    return std::clamp(round_up(std::max(rows / pieces, least), step), step, std::max(most, step));
}

void linear_few(Engine& engine, const LinearArguments& arguments) {
    const MatrixView& x = arguments.x;
    const MatrixView& out = arguments.out;
    const WeightView& weights = arguments.weights;
    const size_t stride = round_up(x.cols, kDotStep);
    float* padded = engine.shared.at_least(x.rows * stride);
    float scales[kFewTokens];
    for (size_t t = 0; t < x.rows; ++t) {
        float* row = padded + t * stride;
        scales[t] = arguments.quantise_x ? token_scale(engine.kernels, x.row(t), x.cols) : 1;
        if (arguments.quantise_x) {
            engine.kernels.quantise(x.row(t), x.cols, scales[t], row);
        } else {
            std::memcpy(row, x.row(t), x.cols * sizeof(float));
        }
        std::fill(row + x.cols, row + stride, 0.0F);
    }
    const size_t step = rows_per_piece(engine, weights.rows, x.rows * x.cols, 4, 1024);
    engine.team.run((weights.rows + step - 1) / step, [&](size_t piece, size_t) {
        const size_t first = piece * step;
        const size_t count = std::min(step, weights.rows - first);
        engine.kernels.dot_of(weights.loader)(weights, first, count, padded, stride, x.rows, out.data + first,
                                              out.stride);
        for (size_t t = 0; t < x.rows; ++t)
            finish_row(arguments, first, count, scales[t], out.row(t) + first);
    });
}

/// A block of tokens packed tile by tile: tile i holds [K, width] of tokens i * tile_tokens and on; the last
/// one may be narrower.
class PackedTokens {
   public:
    /// With `scales`, finds the scale of each token and packs E4M3(x / scale).
    PackedTokens(Engine& engine, const MatrixView& x, size_t first, size_t tokens, float* scales)
        : tile_tokens_(engine.kernels.tile_tokens), cols_(x.cols), padded_(round_up(tokens, kLanes)) {
        values_ = engine.shared.at_least(padded_ * cols_);
        engine.team.run(tiles(), [&](size_t tile, size_t) {
            const size_t t = tile * tile_tokens_;
            const size_t count = std::min(tile_tokens_, tokens - t);
            float* tile_scales = scales == nullptr ? nullptr : scales + t;
            for (size_t n = 0; scales != nullptr && n < count; ++n) {
                tile_scales[n] = token_scale(engine.kernels, x.row(first + t + n), cols_);
            }
            engine.kernels.pack(x.row(first + t), x.stride, tile_scales, count, cols_, width(tile),
                                values_ + t * cols_);
        });
    }

    size_t tiles() const { return (padded_ + tile_tokens_ - 1) / tile_tokens_; }
    size_t width(size_t tile) const {
        return std::min(tile_tokens_, padded_ - tile * tile_tokens_) == tile_tokens_ ? tile_tokens_ : kLanes;
    }
    const float* at(size_t tile, size_t step) const {
        return values_ + tile * tile_tokens_ * cols_ + step * width(tile);
    }
    size_t padded() const { return padded_; }

   private:
    size_t tile_tokens_;
    size_t cols_;
    size_t padded_;
    float* values_ = nullptr;
};

/// Few tokens: tiles that stay in the first-level cache while rows pass by. With more of them, it is better
/// to let the tiles pass by a whole panel.
constexpr size_t kFewTiles = 2;

/// Rows first .. first + rows - 1 of the weights with all packed tokens; sums [rows, padded tokens].
void multiply_panel(const Implementation& kernels, const WeightView& weights, size_t first, size_t rows,
                    const PackedTokens& packed, float* panel, float* sums) {
    const size_t group = packed.tiles() <= kFewTiles ? kernels.tile_rows : rows;
    for (size_t step = 0; step < weights.cols; step += kBlockSteps) {
        const size_t steps = std::min(kBlockSteps, weights.cols - step);
        for (size_t at = 0; at < rows; at += group) {
            const size_t count = std::min(group, rows - at);
            for (size_t n = 0; n < count; ++n) {
                kernels.decode_of(weights.loader)(weights, first + at + n, step, steps,
                                                  panel + n * kBlockSteps);
            }
            for (size_t tile = 0; tile < packed.tiles(); ++tile) {
                kernels.tile(panel, count, packed.at(tile, step), packed.width(tile), steps,
                             sums + at * packed.padded() + tile * kernels.tile_tokens, packed.padded(),
                             step != 0);
            }
        }
    }
}

void linear_block(Engine& engine, const LinearArguments& arguments, size_t first_token, size_t tokens) {
    const MatrixView& x = arguments.x;
    const MatrixView& out = arguments.out;
    const WeightView& weights = arguments.weights;
    float scales[kMostBlockTokens] = {};
    const PackedTokens packed(engine, x, first_token, tokens, arguments.quantise_x ? scales : nullptr);
    const size_t step =
        rows_per_piece(engine, weights.rows, tokens * x.cols, engine.kernels.tile_rows, kPanelRows);
    engine.reserve_per_thread(kPanelRows * (kBlockSteps + kMostBlockTokens));
    engine.team.run((weights.rows + step - 1) / step, [&](size_t piece, size_t thread) {
        const size_t first = piece * step;
        const size_t rows = std::min(step, weights.rows - first);
        float* panel = engine.of_thread(thread);
        float* sums = panel + kPanelRows * kBlockSteps;
        multiply_panel(engine.kernels, weights, first, rows, packed, panel, sums);
        engine.kernels.unpack(sums, packed.padded(), rows, tokens, out.row(first_token) + first, out.stride);
        for (size_t t = 0; t < tokens; ++t) {
            finish_row(arguments, first, rows, scales[t], out.row(first_token + t) + first);
        }
    });
}

}  // namespace

void linear(Engine& engine, const LinearArguments& arguments) {
    const MatrixView& x = arguments.x;
    if (x.rows == 0) return;
    if (x.rows <= kFewTokens) {
        linear_few(engine, arguments);
        return;
    }
    const size_t fitting = kMostPackedValues / x.cols / kLanes * kLanes;
    const size_t most = std::clamp<size_t>(fitting, kLanes, kMostBlockTokens);
    const size_t blocks = (x.rows + most - 1) / most;
    const size_t block = round_up((x.rows + blocks - 1) / blocks, kLanes);
    for (size_t t = 0; t < x.rows; t += block) {
        linear_block(engine, arguments, t, std::min(block, x.rows - t));
    }
}

}  // namespace nestedfp::cpu
