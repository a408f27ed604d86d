#include "napi/arguments.h"

#include <cmath>

namespace nestedfp::napi {
namespace {

std::string describe(const Napi::Value& value) {
    if (value.IsNumber()) return value.ToString().Utf8Value();
    if (value.IsString()) return '"' + value.ToString().Utf8Value() + '"';
    if (value.IsNull()) return "null";
    if (value.IsUndefined()) return "undefined";
    if (value.IsTypedArray()) return "another typed array";
    return "a value of another type";
}

}  // namespace

Napi::TypeError type_error(const Napi::Value& value, const char* name, const char* expected) {
    return Napi::TypeError::New(value.Env(),
                                std::string(name) + ": expected " + expected + ", got " + describe(value));
}

Bytes Arguments::bytes(size_t at, const char* name) {
    const Napi::Value value = info_[at];
    if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
        throw type_error(value, name, "a Uint8Array");
    }
    Napi::Uint8Array array = value.As<Napi::Uint8Array>();
    pins_.push_back(Napi::Persistent(value.As<Napi::Object>()));
    return {array.Data(), array.ByteLength()};
}

Bytes Arguments::bytes_of_size(size_t at, const char* name, size_t size, const std::string& meaning) {
    const Bytes bytes = this->bytes(at, name);
    if (bytes.size != size) {
        throw Napi::RangeError::New(env(), std::string(name) + ": expected " + std::to_string(size) +
                                               " bytes (" + meaning + "), got " + std::to_string(bytes.size));
    }
    return bytes;
}

uint64_t Arguments::integer(size_t at, const char* name, uint64_t least, uint64_t most) {
    const Napi::Value value = info_[at];
    if (!value.IsNumber()) throw type_error(value, name, "a number");
    const double number = value.As<Napi::Number>().DoubleValue();
    const bool in_range = number >= static_cast<double>(least) && number <= static_cast<double>(most);
    if (!in_range || number != std::floor(number)) {
        throw Napi::RangeError::New(env(), std::string(name) + ": expected an integer from " +
                                               std::to_string(least) + " to " + std::to_string(most) +
                                               ", got " + describe(value));
    }
    return static_cast<uint64_t>(number);
}

std::string Arguments::string(size_t at, const char* name) {
    const Napi::Value value = info_[at];
    if (!value.IsString()) throw type_error(value, name, "a string");
    return value.As<Napi::String>().Utf8Value();
}

bool Arguments::boolean(size_t at, const char* name) {
    const Napi::Value value = info_[at];
    if (!value.IsBoolean()) throw type_error(value, name, "a boolean");
    return value.As<Napi::Boolean>().Value();
}

codec::Dtype Arguments::dtype(size_t at) {
    const std::string name = string(at, "dtype");
    if (name == "F16") return codec::Dtype::F16;
    if (name == "BF16") return codec::Dtype::BF16;
    if (name == "F32") return codec::Dtype::F32;
    throw Napi::RangeError::New(env(), "dtype: expected F16, BF16 or F32, got \"" + name + '"');
}

}  // namespace nestedfp::napi
