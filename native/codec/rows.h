#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "codec/implementation.h"

// FORMAT.md §2 on a block of whole rows. Sizes have been checked by the caller.
namespace nestedfp::codec {

inline constexpr int kMaxRowShift = 15;

/// The shift of a row that needs more than kMaxRowShift, or that holds a NaN or an infinity.
inline constexpr uint8_t kShiftOutOfRange = 255;

/// The layout of a block: one shift for each row, `cols` words a row.
struct Rows {
    const Implementation* implementation;
    Dtype dtype;
    size_t cols;
    size_t count;
};

struct RowScan {
    /// max |w|; Infinity or NaN when the block holds one.
    double max_abs = 0;
    /// Over the rows whose shift is in range.
    Losses losses;
};

struct NoiseSums {
    double signal = 0;
    double noise = 0;
};

/// The smallest s with half(max_abs * 2^-s) < 1.875, or kShiftOutOfRange.
uint8_t row_shift(float max_abs);

RowScan scan_rows(const Rows& rows, const uint8_t* words, uint8_t* shifts);
Losses count_losses(const Rows& rows, const uint8_t* words, const uint8_t* shifts);
void split_rows(const Rows& rows, const uint8_t* words, const uint8_t* shifts, uint8_t* upper,
                uint8_t* lower);
void collect_patches(const Rows& rows, const uint8_t* words, const uint8_t* shifts, PatchSink& sink);
void join_rows(const Rows& rows, const uint8_t* upper, const uint8_t* lower, const uint8_t* shifts,
               uint8_t* words);
NoiseSums noise_of(const Rows& rows, const uint8_t* words, const uint8_t* shifts, const uint8_t* upper);

}  // namespace nestedfp::codec
