#include "cpu/row_operations.h"

#include <cstring>

#include "codec/float16.h"
#include "cpu/for_rows.h"

namespace nestedfp::cpu {
namespace {

void copy_row(const Implementation& kernels, const Table& table, size_t row, float* out) {
    const size_t at = row * table.cols;
    switch (table.dtype) {
        case TableDtype::kHalf: {
            // The kernel writes 32 values at a time.
            float values[kBlockSteps];
            const WeightView view{.bytes = table.words, .rows = table.rows, .cols = table.cols};
            for (size_t k = 0; k < table.cols; k += kBlockSteps) {
                const size_t count = std::min(kBlockSteps, table.cols - k);
                kernels.decode_of(Loader::kHalf)(view, row, k, count, values);
                std::memcpy(out + k, values, count * sizeof(float));
            }
            break;
        }
        case TableDtype::kBf16:
            for (size_t k = 0; k < table.cols; ++k) {
                uint16_t word;
                std::memcpy(&word, table.words + 2 * (at + k), 2);
                out[k] = codec::bf16_to_float(word);
            }
            break;
        case TableDtype::kFp32:
            std::memcpy(out, table.words + 4 * at, 4 * table.cols);
            break;
    }
}

}  // namespace

void embedding(Engine& engine, const Table& table, std::span<const int32_t> ids, const MatrixView& out) {
    for_rows(engine, out.rows, table.cols,
             [&](size_t t) { copy_row(engine.kernels, table, static_cast<size_t>(ids[t]), out.row(t)); });
}

void rms_norm(Engine& engine, const MatrixView& x, const float* weight, size_t group, float eps,
              const MatrixView& out) {
    for_rows(engine, x.rows, x.cols, [&](size_t t) {
        for (size_t k = 0; k < x.cols; k += group) {
            engine.kernels.rms_norm(x.row(t) + k, weight, group, eps, out.row(t) + k);
        }
    });
}

void rope(Engine& engine, const RopeArguments& arguments) {
    const MatrixView& x = arguments.x;
    for_rows(engine, x.rows, x.cols, [&](size_t t) {
        const size_t at = static_cast<size_t>(arguments.positions[t]) * arguments.half;
        for (size_t k = 0; k < x.cols; k += arguments.head_dim) {
            engine.kernels.rope(x.row(t) + k, arguments.half, arguments.cos + at, arguments.sin + at);
        }
    });
}

void silu_mul(Engine& engine, const MatrixView& gate, const MatrixView& up, const MatrixView& out) {
    for_rows(engine, gate.rows, gate.cols,
             [&](size_t t) { engine.kernels.silu_mul(gate.row(t), up.row(t), gate.cols, out.row(t)); });
}

void add(Engine& engine, const MatrixView& x, const MatrixView& y) {
    for_rows(engine, x.rows, x.cols, [&](size_t t) { engine.kernels.add(x.row(t), y.row(t), x.cols); });
}

}  // namespace nestedfp::cpu
