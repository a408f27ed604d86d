#include "napi/codec_pool.h"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "codec/dispatch.h"
#include "codec/rows.h"
#include "napi/arguments.h"
#include "napi/block_arguments.h"
#include "napi/sha256_handle.h"

namespace nestedfp::napi {
namespace {

/// Above any machine's; a number that large is a mistake.
constexpr unsigned kMostThreads = 1024;

constexpr uint64_t kMostSafeInteger = (uint64_t{1} << 53) - 1;

Napi::Value undefined(Napi::Env env) { return env.Undefined(); }

Outcome losses_outcome(const codec::Losses& losses) {
    return [losses](Napi::Env env) -> Napi::Value {
        Napi::Object result = Napi::Object::New(env);
        result["inexact"] = static_cast<double>(losses.inexact);
        result["underflow"] = static_cast<double>(losses.underflow);
        return result;
    };
}

Outcome number_outcome(double number) {
    return [number](Napi::Env env) -> Napi::Value { return Napi::Number::New(env, number); };
}

const codec::Implementation& implementation_named(Napi::Env env, const std::string& name) {
    if (const codec::Implementation* found = codec::find_implementation(name)) return *found;
    std::string supported;
    for (const codec::Implementation* implementation : codec::supported_implementations()) {
        supported += (supported.empty() ? "" : ", ") + std::string(implementation->name);
    }
    throw Napi::RangeError::New(env, "implementation: this CPU runs " + supported + ", got \"" + name + '"');
}

}  // namespace

Napi::Function CodecPool::define(Napi::Env env) {
    return DefineClass(
        env, "Pool",
        {InstanceMethod<&CodecPool::scan_rows>("scanRows"),
         InstanceMethod<&CodecPool::count_losses>("countLosses"),
         InstanceMethod<&CodecPool::split_rows>("splitRows"),
         InstanceMethod<&CodecPool::collect_patches>("collectPatches"),
         InstanceMethod<&CodecPool::join_rows>("joinRows"),
         InstanceMethod<&CodecPool::count_non_canonical>("countNonCanonical"),
         InstanceMethod<&CodecPool::noise_of>("noiseOf"), InstanceMethod<&CodecPool::crc32>("crc32"),
         InstanceMethod<&CodecPool::sha256>("sha256"), InstanceMethod<&CodecPool::close>("close")});
}

CodecPool::CodecPool(const Napi::CallbackInfo& info) : Napi::ObjectWrap<CodecPool>(info) {
    Arguments arguments(info);
    const auto threads = static_cast<unsigned>(arguments.integer(0, "threads", 1, kMostThreads));
    implementation_ = &implementation_named(info.Env(), arguments.string(1, "implementation"));
    runner_ = PromiseRunner::create(info.Env(), threads);
}

/// scanRows(words, dtype, cols, shifts)
Napi::Value CodecPool::scan_rows(const Napi::CallbackInfo& info) {
    Arguments arguments(info);
    const BlockArguments block(arguments, 1, *implementation_);
    const Bytes words = block.words(0);
    return runner_->run(info.Env(), arguments.take_pins(),
                        [rows = block.rows(), words, shifts = block.shifts()] {
                            const codec::RowScan scan = codec::scan_rows(rows, words.data, shifts);
                            return [scan](Napi::Env env) -> Napi::Value {
                                Napi::Object result = losses_outcome(scan.losses)(env).As<Napi::Object>();
                                result["maxAbs"] = scan.max_abs;
                                return result;
                            };
                        });
}

/// countLosses(words, dtype, cols, shifts)
Napi::Value CodecPool::count_losses(const Napi::CallbackInfo& info) {
    Arguments arguments(info);
    const BlockArguments block(arguments, 1, *implementation_);
    block.check_shifts();
    const Bytes words = block.words(0);
    return runner_->run(info.Env(), arguments.take_pins(),
                        [rows = block.rows(), words, shifts = block.shifts()] {
                            return losses_outcome(codec::count_losses(rows, words.data, shifts));
                        });
}

/// splitRows(words, dtype, cols, shifts, upper, lower)
Napi::Value CodecPool::split_rows(const Napi::CallbackInfo& info) {
    Arguments arguments(info);
    const BlockArguments block(arguments, 1, *implementation_);
    block.check_shifts();
    const Bytes words = block.words(0);
    const Bytes upper = block.plane(4, "upper");
    const Bytes lower = block.plane(5, "lower");
    return runner_->run(info.Env(), arguments.take_pins(),
                        [rows = block.rows(), words, shifts = block.shifts(), upper, lower] {
                            codec::split_rows(rows, words.data, shifts, upper.data, lower.data);
                            return undefined;
                        });
}

/// collectPatches(words, dtype, cols, shifts, base, index, indexBytes, value)
Napi::Value CodecPool::collect_patches(const Napi::CallbackInfo& info) {
    Arguments arguments(info);
    const BlockArguments block(arguments, 1, *implementation_);
    if (block.rows().dtype == codec::Dtype::F32) {
        throw Napi::RangeError::New(info.Env(), "dtype: expected F16 or BF16, got \"F32\"");
    }
    block.check_shifts();
    const Bytes words = block.words(0);
    const uint64_t base = arguments.integer(4, "base", 0, kMostSafeInteger);
    const Bytes index = arguments.bytes(5, "index");
    const uint64_t index_bytes = arguments.integer(6, "indexBytes", 4, 8);
    const Bytes value = arguments.bytes(7, "value");
    if (index_bytes != 4 && index_bytes != 8) {
        throw Napi::RangeError::New(info.Env(),
                                    "indexBytes: expected 4 or 8, got " + std::to_string(index_bytes));
    }
    const uint64_t end = base + words.size / 2;
    if (index_bytes == 4 && end > uint64_t{1} << 32) {
        throw Napi::RangeError::New(info.Env(), "base: expected at most 2^32 - " +
                                                    std::to_string(words.size / 2) +
                                                    " with indexBytes 4, got " + std::to_string(base));
    }
    const size_t capacity = std::min(index.size / index_bytes, value.size / 2);
    const codec::PatchSink empty(words.data, base, index.data, index_bytes, value.data, capacity);
    return runner_->run(info.Env(), arguments.take_pins(),
                        [rows = block.rows(), words, shifts = block.shifts(), empty, capacity] {
                            codec::PatchSink sink = empty;
                            codec::collect_patches(rows, words.data, shifts, sink);
                            if (sink.found() > capacity) {
                                throw std::length_error("index, value: expected room for " +
                                                        std::to_string(sink.found()) +
                                                        " patches, got room for " + std::to_string(capacity));
                            }
                            return number_outcome(static_cast<double>(sink.found()));
                        });
}

/// joinRows(upper, lower, dtype, cols, shifts, words)
Napi::Value CodecPool::join_rows(const Napi::CallbackInfo& info) {
    Arguments arguments(info);
    const BlockArguments block(arguments, 2, *implementation_);
    block.check_shifts();
    const Bytes upper = block.plane(0, "upper");
    const Bytes lower = block.plane(1, "lower");
    const Bytes words = block.words(5);
    return runner_->run(info.Env(), arguments.take_pins(),
                        [rows = block.rows(), upper, lower, shifts = block.shifts(), words] {
                            codec::join_rows(rows, upper.data, lower.data, shifts, words.data);
                            return undefined;
                        });
}

/// countNonCanonical(upper, lower)
Napi::Value CodecPool::count_non_canonical(const Napi::CallbackInfo& info) {
    Arguments arguments(info);
    const Bytes upper = arguments.bytes(0, "upper");
    const Bytes lower = arguments.bytes_of_size(1, "lower", upper.size, "as upper");
    return runner_->run(
        info.Env(), arguments.take_pins(), [count = implementation_->count_non_canonical, upper, lower] {
            return number_outcome(static_cast<double>(count(upper.data, lower.data, upper.size)));
        });
}

/// noiseOf(words, dtype, cols, shifts, upper)
Napi::Value CodecPool::noise_of(const Napi::CallbackInfo& info) {
    Arguments arguments(info);
    const BlockArguments block(arguments, 1, *implementation_);
    block.check_shifts();
    const Bytes words = block.words(0);
    const Bytes upper = block.plane(4, "upper");
    return runner_->run(
        info.Env(), arguments.take_pins(), [rows = block.rows(), words, shifts = block.shifts(), upper] {
            const codec::NoiseSums sums = codec::noise_of(rows, words.data, shifts, upper.data);
            return [sums](Napi::Env env) -> Napi::Value {
                Napi::Object result = Napi::Object::New(env);
                result["signal"] = sums.signal;
                result["noise"] = sums.noise;
                return result;
            };
        });
}

/// crc32(bytes, seed)
Napi::Value CodecPool::crc32(const Napi::CallbackInfo& info) {
    Arguments arguments(info);
    const Bytes bytes = arguments.bytes(0, "bytes");
    const auto seed = static_cast<uint32_t>(arguments.integer(1, "seed", 0, 0xFFFFFFFF));
    return runner_->run(info.Env(), arguments.take_pins(), [crc32 = implementation_->crc32, bytes, seed] {
        return number_outcome(crc32(seed, bytes.data, bytes.size));
    });
}

/// sha256(), null where the process exports no OpenSSL.
Napi::Value CodecPool::sha256(const Napi::CallbackInfo& info) {
    return new_sha256_handle(info.Env(), runner_);
}

}  // namespace nestedfp::napi
