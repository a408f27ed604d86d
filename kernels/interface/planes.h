// How the planes of a weight matrix lie in device memory: bytes of rows in groups of 128 along K, in the
// order of ops/layout.cuh. The upper plane is FORMAT.md's. The lower plane is not: it holds residuals, what
// the word's magnitude has more than 128 times the upper byte's, as a signed byte. That is FORMAT.md's lower
// byte but for its top bit, which says that the upper byte was rounded up; it saves the kernels from finding
// that out, and whoever uploads a plane from a file turns that bit over where the upper byte is odd.
#pragma once

#include <cstdint>

namespace nestedfp::kernels {

/// Bytes of a row of a device plane, and columns of X8: K filled up with zeros to a multiple of 128.
constexpr uint64_t padded_k(uint64_t k) { return (k + 127) / 128 * 128; }

/// The upper plane is row-major, as libraries read it. The lower plane lies in tiles of so many rows of one
/// group, those of the same rows one after the other along K: one copy takes bytes that follow each other, of
/// few pages of the memory. (Measured at 256 tokens: 1.017 times as fast; with both planes in tiles 1.04.)
constexpr int32_t kLowerTileRows = 64;

/// The last tiles are filled up with zeros.
constexpr uint64_t lower_plane_bytes(uint64_t n, uint64_t k) {
    return (n + kLowerTileRows - 1) / kLowerTileRows * kLowerTileRows * padded_k(k);
}

/// Which row of 128 bytes of the lower plane holds those of `row` in group `group` of `groups`.
template <typename Integer>
constexpr Integer lower_row(Integer row, Integer group, Integer groups) {
    return (row / kLowerTileRows * groups + group) * kLowerTileRows + row % kLowerTileRows;
}

/// Where a copy brings zeros alone: before the first row.
constexpr int32_t kBeyondLower = -kLowerTileRows;
static_assert(kBeyondLower + kLowerTileRows <= 0, "a copy of a tile's rows from there ends before the first");

/// Rows that one copy moves, for blocks that load `rows` of a stage; a copy stays inside a tile.
constexpr int32_t lower_box_rows(int32_t rows) { return rows % kLowerTileRows == 0 ? kLowerTileRows : 32; }

}  // namespace nestedfp::kernels
