#include "codec/rows.h"

#include <algorithm>
#include <bit>

#include "codec/float16.h"
#include "codec/overlay.h"

namespace nestedfp::codec {
namespace {

const RowKernels& kernels_of(const Rows& rows) { return rows.implementation->of(rows.dtype); }

float magnitude_to_float(Dtype dtype, uint32_t magnitude) {
    switch (dtype) {
        case Dtype::F16:
            return half_to_float(static_cast<uint16_t>(magnitude));
        case Dtype::BF16:
            return bf16_to_float(static_cast<uint16_t>(magnitude));
        case Dtype::F32:
            break;
    }
    return std::bit_cast<float>(magnitude);
}

/// A binary16 word is its own half.
bool is_always_exact(Dtype dtype, int shift) { return dtype == Dtype::F16 && shift == 0; }

/// Calls visit(first word, words, shift) for every run of neighbouring rows with one shift: nearly always the
/// whole block, and then short rows cost no loop tails.
template <typename Visit>
void for_each_run(const Rows& rows, const uint8_t* shifts, Visit visit) {
    for (size_t row = 0; row < rows.count;) {
        size_t end = row + 1;
        while (end < rows.count && shifts[end] == shifts[row]) ++end;
        visit(row * rows.cols, (end - row) * rows.cols, int{shifts[row]});
        row = end;
    }
}

double sum(const std::array<double, 8>& lanes) {
    double total = 0;
    for (const double lane : lanes) total += lane;
    return total;
}

}  // namespace

uint8_t row_shift(float max_abs) {
    for (int shift = 0; shift <= kMaxRowShift; ++shift) {
        if (is_eligible(round_to_half(max_abs * power_of_two(-shift)))) return static_cast<uint8_t>(shift);
    }
    return kShiftOutOfRange;
}

RowScan scan_rows(const Rows& rows, const uint8_t* words, uint8_t* shifts) {
    const RowKernels& kernels = kernels_of(rows);
    RowScan scan;
    uint32_t largest = 0;
    // Row by row, so that the second look finds the row in the cache.
    for (size_t row = 0; row < rows.count; ++row) {
        const uint8_t* first = words + row * rows.cols * word_bytes(rows.dtype);
        const uint32_t magnitude = kernels.max_magnitude(first, rows.cols);
        const uint8_t shift = row_shift(magnitude_to_float(rows.dtype, magnitude));
        shifts[row] = shift;
        largest = std::max(largest, magnitude);
        if (shift == kShiftOutOfRange || is_always_exact(rows.dtype, shift)) continue;
        const Losses losses = kernels.count_losses(first, rows.cols, shift);
        scan.losses.inexact += losses.inexact;
        scan.losses.underflow += losses.underflow;
    }
    scan.max_abs = magnitude_to_float(rows.dtype, largest);
    return scan;
}

Losses count_losses(const Rows& rows, const uint8_t* words, const uint8_t* shifts) {
    Losses total;
    for_each_run(rows, shifts, [&](size_t first, size_t count, int shift) {
        if (is_always_exact(rows.dtype, shift)) return;
        const Losses losses =
            kernels_of(rows).count_losses(words + first * word_bytes(rows.dtype), count, shift);
        total.inexact += losses.inexact;
        total.underflow += losses.underflow;
    });
    return total;
}

void split_rows(const Rows& rows, const uint8_t* words, const uint8_t* shifts, uint8_t* upper,
                uint8_t* lower) {
    for_each_run(rows, shifts, [&](size_t first, size_t count, int shift) {
        kernels_of(rows).split(words + first * word_bytes(rows.dtype), count, shift, upper + first,
                               lower + first);
    });
}

void collect_patches(const Rows& rows, const uint8_t* words, const uint8_t* shifts, PatchSink& sink) {
    for_each_run(rows, shifts, [&](size_t first, size_t count, int shift) {
        if (is_always_exact(rows.dtype, shift)) return;
        kernels_of(rows).collect_patches(words + first * word_bytes(rows.dtype), count, shift, first, sink);
    });
}

void join_rows(const Rows& rows, const uint8_t* upper, const uint8_t* lower, const uint8_t* shifts,
               uint8_t* words) {
    for_each_run(rows, shifts, [&](size_t first, size_t count, int shift) {
        kernels_of(rows).join(upper + first, lower + first, count, shift,
                              words + first * word_bytes(rows.dtype));
    });
}

NoiseSums noise_of(const Rows& rows, const uint8_t* words, const uint8_t* shifts, const uint8_t* upper) {
    NoiseLanes lanes;
    // Not in runs: the lane of a word is its column modulo 8.
    for (size_t row = 0; row < rows.count; ++row) {
        const size_t first = row * rows.cols;
        kernels_of(rows).add_noise(words + first * word_bytes(rows.dtype), upper + first, rows.cols,
                                   shifts[row], lanes);
    }
    return {sum(lanes.signal), sum(lanes.noise)};
}

}  // namespace nestedfp::codec
