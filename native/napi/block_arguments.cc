#include "napi/block_arguments.h"

namespace nestedfp::napi {
namespace {

/// No block of words is larger, and so no product of sizes overflows.
constexpr uint64_t kMostWords = uint64_t{1} << 52;

}  // namespace

BlockArguments::BlockArguments(Arguments& arguments, size_t at, const codec::Implementation& implementation)
    : arguments_(arguments) {
    const codec::Dtype dtype = arguments.dtype(at);
    const uint64_t cols = arguments.integer(at + 1, "cols", 0, kMostWords);
    shifts_ = arguments.bytes(at + 2, "shifts");
    if (cols != 0 && shifts_.size > kMostWords / cols) {
        throw Napi::RangeError::New(
            arguments.env(), "shifts: expected at most " + std::to_string(kMostWords / cols) + " rows of " +
                                 std::to_string(cols) + " columns, got " + std::to_string(shifts_.size));
    }
    rows_ = {&implementation, dtype, cols, shifts_.size};
    count_ = cols * shifts_.size;
}

void BlockArguments::check_shifts() const {
    for (size_t row = 0; row < shifts_.size; ++row) {
        const unsigned shift = shifts_.data[row];
        if (shift <= codec::kMaxRowShift) continue;
        throw Napi::RangeError::New(
            arguments_.env(), "shifts: expected 0 to " + std::to_string(codec::kMaxRowShift) + ", got " +
                                  std::to_string(shift) + " for row " + std::to_string(row));
    }
}

Bytes BlockArguments::words(size_t at) const {
    const size_t word_bytes = codec::word_bytes(rows_.dtype);
    return arguments_.bytes_of_size(at, "words", count_ * word_bytes,
                                    describe() + " x " + std::to_string(word_bytes) + " bytes");
}

Bytes BlockArguments::plane(size_t at, const char* name) const {
    return arguments_.bytes_of_size(at, name, count_, describe());
}

std::string BlockArguments::describe() const {
    return std::to_string(rows_.count) + " rows x " + std::to_string(rows_.cols) + " columns";
}

}  // namespace nestedfp::napi
