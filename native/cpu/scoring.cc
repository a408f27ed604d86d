#include "cpu/scoring.h"

#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>

#include "cpu/for_rows.h"

namespace nestedfp::cpu {
namespace {

double log_of(const ExpSum& sum) { return std::log(sum.sum) + static_cast<double>(sum.max); }

/// The first index of the largest logit; 0 if that is a NaN.
size_t top1(const float* logits, size_t count, float max) {
    for (size_t k = 0; k < count; ++k) {
        if (logits[k] == max) return k;
    }
    return 0;
}

}  // namespace

void nll(Engine& engine, const MatrixView& logits, std::span<const int32_t> targets, double* result) {
    for_rows(engine, logits.rows, logits.cols, [&](size_t t) {
        const float* row = logits.row(t);
        result[t] = log_of(engine.kernels.exp_sum(row, logits.cols)) - static_cast<double>(row[targets[t]]);
    });
}

void compare(Engine& engine, const MatrixView& reference, const MatrixView& logits,
             std::span<const int32_t> targets, const ComparisonColumns& result) {
    const size_t count = logits.cols;
    for_rows(engine, logits.rows, 4 * count, [&](size_t t) {
        const float* from = reference.row(t);
        const float* to = logits.row(t);
        const ExpSum from_sum = engine.kernels.exp_sum(from, count);
        const ExpSum to_sum = engine.kernels.exp_sum(to, count);
        const double difference = engine.kernels.weighted_difference(from, to, count, from_sum.max);
        result.kl[t] = difference / from_sum.sum + (log_of(to_sum) - log_of(from_sum));
        result.same_top1[t] = top1(from, count, from_sum.max) == top1(to, count, to_sum.max);
        const int32_t target = targets[t];
        result.delta_p[t] = std::exp(static_cast<double>(to[target]) - log_of(to_sum)) -
                            std::exp(static_cast<double>(from[target]) - log_of(from_sum));
    });
}

bool any_non_finite(Engine& engine, const MatrixView& x) {
    std::atomic<bool> found = false;
    for_rows(engine, x.rows, x.cols, [&](size_t t) {
        const float* row = x.row(t);
        uint32_t largest = 0;
        for (size_t k = 0; k < x.cols; ++k) {
            largest = std::max(largest, std::bit_cast<uint32_t>(row[k]) & 0x7FFFFFFF);
        }
        if (largest >= 0x7F800000) found = true;
    });
    return found;
}

int64_t first_difference(Engine& engine, const MatrixView& a, const MatrixView& b) {
    std::atomic<size_t> first_row = a.rows;
    for_rows(engine, a.rows, a.cols, [&](size_t t) {
        if (std::memcmp(a.row(t), b.row(t), a.cols * sizeof(float)) == 0) return;
        size_t least = first_row;
        while (t < least && !first_row.compare_exchange_weak(least, t)) {
        }
    });
    const size_t row = first_row;
    for (size_t k = 0; row < a.rows && k < a.cols; ++k) {
        if (std::memcmp(a.row(row) + k, b.row(row) + k, sizeof(float)) != 0) {
            return static_cast<int64_t>(row * a.cols + k);
        }
    }
    return -1;
}

}  // namespace nestedfp::cpu
