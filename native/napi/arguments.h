#pragma once

#include <napi.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "codec/dtype.h"
#include "napi/promise_runner.h"

namespace nestedfp::napi {

/// "name: expected ..., got ...".
Napi::TypeError type_error(const Napi::Value& value, const char* name, const char* expected);

/// The memory of a Uint8Array; valid while its pin is held.
struct Bytes {
    uint8_t* data;
    size_t size;
};

/// Reads and checks the arguments of one call, and pins its arrays. Each reader throws a TypeError or a
/// RangeError that names the argument, what was expected and what came.
class Arguments {
   public:
    explicit Arguments(const Napi::CallbackInfo& info) : info_(info) {}

    Bytes bytes(size_t at, const char* name);
    /// @param meaning how `size` comes about, for the message.
    Bytes bytes_of_size(size_t at, const char* name, size_t size, const std::string& meaning);
    /// An integer from `least` to `most` (at most 2^53 - 1).
    uint64_t integer(size_t at, const char* name, uint64_t least, uint64_t most);
    std::string string(size_t at, const char* name);
    bool boolean(size_t at, const char* name);
    bool is_undefined(size_t at) const { return info_[at].IsUndefined(); }
    codec::Dtype dtype(size_t at);

    Napi::Env env() const { return info_.Env(); }
    Pins take_pins() { return std::move(pins_); }

   protected:
    const Napi::CallbackInfo& info_;

   private:
    Pins pins_;
};

}  // namespace nestedfp::napi
