#pragma once

#include "codec/rows.h"
#include "napi/arguments.h"

namespace nestedfp::napi {

/// A block of rows as it came from JS: its layout, and the sizes that its arrays must have.
class BlockArguments {
   public:
    /// Reads dtype, cols and shifts, which stand next to each other from `at`.
    BlockArguments(Arguments& arguments, size_t at, const codec::Implementation& implementation);

    /// @throws Napi::RangeError unless each shift is 0..15.
    void check_shifts() const;

    Bytes words(size_t at) const;
    /// One byte a word.
    Bytes plane(size_t at, const char* name) const;

    const codec::Rows& rows() const { return rows_; }
    uint8_t* shifts() const { return shifts_.data; }

   private:
    std::string describe() const;

    Arguments& arguments_;
    codec::Rows rows_;
    Bytes shifts_;
    size_t count_;
};

}  // namespace nestedfp::napi
