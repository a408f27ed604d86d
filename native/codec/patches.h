#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace nestedfp::codec {

/// Receives the positions of inexact words in ascending order and writes the patch list of FORMAT.md §4:
/// index (little-endian, 4 or 8 bytes) and raw 16-bit source word. Beyond `capacity` it only counts.
class PatchSink {
   public:
    PatchSink(const uint8_t* words, uint64_t base, uint8_t* index, size_t index_bytes, uint8_t* value,
              size_t capacity)
        : words_(words),
          base_(base),
          index_(index),
          index_bytes_(index_bytes),
          value_(value),
          capacity_(capacity) {}

    /// `position` counts words from the start of the block.
    void add(size_t position) {
        if (found_ < capacity_) {
            const uint64_t index = base_ + position;
            std::memcpy(index_ + found_ * index_bytes_, &index, index_bytes_);
            std::memcpy(value_ + found_ * 2, words_ + position * 2, 2);
        }
        ++found_;
    }

    /// Adds `first` + the position of every bit that is set in `mask`.
    void add_bits(size_t first, uint32_t mask) {
        for (; mask != 0; mask &= mask - 1) add(first + static_cast<size_t>(__builtin_ctz(mask)));
    }

    size_t found() const { return found_; }

   private:
    const uint8_t* words_;
    uint64_t base_;
    uint8_t* index_;
    size_t index_bytes_;
    uint8_t* value_;
    size_t capacity_;
    size_t found_ = 0;
};

}  // namespace nestedfp::codec
