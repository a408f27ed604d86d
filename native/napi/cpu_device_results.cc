// The operations with a result: scoring, and conversions of weights.
#include <memory>
#include <string>

#include "cpu/quantise.h"
#include "cpu/scoring.h"
#include "napi/cpu_device.h"

namespace nestedfp::napi {

/// nll(logits, targets)
Napi::Value CpuDevice::nll(const Napi::CallbackInfo& info) {
    CpuArguments arguments(info, owner());
    const cpu::MatrixView logits = arguments.activations(0, "logits");
    const std::vector<int32_t> targets = arguments.indices(1, "targets", logits.rows, logits.cols);
    auto result = Napi::Float64Array::New(info.Env(), logits.rows);
    return run(
        arguments,
        [logits, targets, to = result.Data()](cpu::Engine& engine) { cpu::nll(engine, logits, targets, to); },
        value_of(result));
}

/// compare(reference, logits, targets)
Napi::Value CpuDevice::compare(const Napi::CallbackInfo& info) {
    CpuArguments arguments(info, owner());
    const cpu::MatrixView reference = arguments.activations(0, "reference");
    const cpu::MatrixView logits = arguments.activations(1, "logits");
    arguments.check_shape(logits, "logits", reference.rows, reference.cols);
    const std::vector<int32_t> targets = arguments.indices(2, "targets", logits.rows, logits.cols);
    auto kl = Napi::Float64Array::New(info.Env(), logits.rows);
    auto same_top1 = Napi::Uint8Array::New(info.Env(), logits.rows);
    auto delta_p = Napi::Float64Array::New(info.Env(), logits.rows);
    Napi::Object result = Napi::Object::New(info.Env());
    result["kl"] = kl;
    result["sameTop1"] = same_top1;
    result["deltaP"] = delta_p;
    const cpu::ComparisonColumns columns{kl.Data(), same_top1.Data(), delta_p.Data()};
    return run(
        arguments,
        [reference, logits, targets, columns](cpu::Engine& engine) {
            cpu::compare(engine, reference, logits, targets, columns);
        },
        value_of(result));
}

/// anyNonFinite(x)
Napi::Value CpuDevice::any_non_finite(const Napi::CallbackInfo& info) {
    CpuArguments arguments(info, owner());
    const cpu::MatrixView x = arguments.activations(0, "x");
    const auto found = std::make_shared<bool>(false);
    return run(
        arguments, [x, found](cpu::Engine& engine) { *found = cpu::any_non_finite(engine, x); },
        [found](Napi::Env env) -> Napi::Value { return Napi::Boolean::New(env, *found); });
}

/// firstDifference(a, b)
Napi::Value CpuDevice::first_difference(const Napi::CallbackInfo& info) {
    CpuArguments arguments(info, owner());
    const cpu::MatrixView a = arguments.activations(0, "a");
    const cpu::MatrixView b = arguments.activations(1, "b");
    arguments.check_shape(b, "b", a.rows, a.cols);
    const auto index = std::make_shared<int64_t>(-1);
    return run(
        arguments, [a, b, index](cpu::Engine& engine) { *index = cpu::first_difference(engine, a, b); },
        [index](Napi::Env env) -> Napi::Value {
            return Napi::Number::New(env, static_cast<double>(*index));
        });
}

/// quantiseFp8(words, rows, cols)
Napi::Value CpuDevice::quantise_fp8(const Napi::CallbackInfo& info) {
    CpuArguments arguments(info, owner());
    const size_t rows = arguments.integer(1, "rows", 1, kMostRows);
    const size_t cols = arguments.integer(2, "cols", 1, kMostRows);
    const Bytes words =
        arguments.bytes_of_size(0, "words", rows * cols * 2, shape_text(rows, cols) + " x 2 bytes");
    auto bytes = Napi::Uint8Array::New(info.Env(), rows * cols);
    auto scales = Napi::Float32Array::New(info.Env(), rows);
    Napi::Object result = Napi::Object::New(info.Env());
    result["bytes"] = bytes;
    result["scales"] = scales;
    return run(
        arguments,
        [words, rows, cols, to = bytes.Data(), row_scales = scales.Data()](cpu::Engine& engine) {
            cpu::quantise_fp8(engine, words.data, rows, cols, to, row_scales);
        },
        value_of(result));
}

/// toHalf(words, dtype)
Napi::Value CpuDevice::to_half(const Napi::CallbackInfo& info) {
    CpuArguments arguments(info, owner());
    const Bytes words = arguments.bytes(0, "words");
    const std::string dtype = arguments.string(1, "dtype");
    const bool is_bf16 = dtype == "bf16";
    arguments.check(is_bf16 || dtype == "fp32", "dtype", "bf16 or fp32", '"' + dtype + '"');
    const size_t width = is_bf16 ? 2 : 4;
    arguments.check(words.size % width == 0, "words", "a multiple of " + std::to_string(width) + " bytes",
                    std::to_string(words.size));
    const size_t count = words.size / width;
    auto result = Napi::Uint8Array::New(info.Env(), count * 2);
    return run(
        arguments,
        [words, is_bf16, count, to = reinterpret_cast<uint16_t*>(result.Data())](cpu::Engine& engine) {
            (is_bf16 ? cpu::bf16_to_half : cpu::fp32_to_half)(engine, words.data, count, to);
        },
        value_of(result));
}

}  // namespace nestedfp::napi
