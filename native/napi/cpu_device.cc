#include "napi/cpu_device.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <string>
#include <utility>

#include "cpu/attention.h"
#include "cpu/dispatch.h"
#include "cpu/linear.h"
#include "cpu/quantise.h"
#include "cpu/row_operations.h"
#include "cpu/scoring.h"
#include "napi/cpu_memory.h"

namespace nestedfp::napi {
namespace {

/// Above any machine's; a number that large is a mistake.
constexpr unsigned kMostThreads = 1024;

/// A dimension; no product of two overflows.
constexpr uint64_t kMostRows = (uint64_t{1} << 31) - 1;

/// After so many held handles without a promise the device makes one of its own, so that memory is let go of.
constexpr size_t kMostHeld = 1024;

Napi::Value undefined(Napi::Env env) { return env.Undefined(); }

const cpu::Implementation& implementation_named(Napi::Env env, const std::string& name) {
    if (const cpu::Implementation* found = cpu::find_implementation(name)) return *found;
    std::string supported;
    for (const cpu::Implementation* implementation : cpu::supported_implementations()) {
        supported += (supported.empty() ? "" : ", ") + std::string(implementation->name);
    }
    throw Napi::RangeError::New(env, "implementation: this CPU runs " + supported + ", got \"" + name + '"');
}

/// A JS value that outlives the call; it is used and let go of on the main thread.
class Kept {
   public:
    explicit Kept(const Napi::Object& value)
        : reference_(std::make_shared<Napi::ObjectReference>(Napi::Persistent(value))) {}

    Outcome outcome() const {
        return [reference = reference_](Napi::Env) -> Napi::Value { return reference->Value(); };
    }

   private:
    std::shared_ptr<Napi::ObjectReference> reference_;
};

}  // namespace

/// What the queue's thread works on.
struct CpuDevice::State {
    State(const cpu::Implementation& implementation, unsigned threads) : engine(implementation, threads) {}

    /// Once an operation has failed (only for lack of memory) the values are worth nothing: later ones do not
    /// run, and every promise is rejected with the reason.
    void perform(const Operation& operation) {
        if (failure) return;
        try {
            operation(engine);
        } catch (...) {
            failure = std::current_exception();
        }
    }

    cpu::Engine engine;
    std::exception_ptr failure;
};

Napi::Function CpuDevice::define(Napi::Env env) {
    return DefineClass(env, "CpuDevice",
                       {InstanceMethod<&CpuDevice::allocate>("allocate"),
                        InstanceMethod<&CpuDevice::view>("view"),
                        InstanceMethod<&CpuDevice::constants>("constants"),
                        InstanceMethod<&CpuDevice::weights>("weights"),
                        InstanceMethod<&CpuDevice::free>("free"),
                        InstanceMethod<&CpuDevice::upload>("upload"),
                        InstanceMethod<&CpuDevice::download>("download"),
                        InstanceMethod<&CpuDevice::finish>("finish"),
                        InstanceMethod<&CpuDevice::close>("close"),
                        InstanceMethod<&CpuDevice::embedding>("embedding"),
                        InstanceMethod<&CpuDevice::rms_norm>("rmsNorm"),
                        InstanceMethod<&CpuDevice::linear>("linear"),
                        InstanceMethod<&CpuDevice::rope>("rope"),
                        InstanceMethod<&CpuDevice::attention>("attention"),
                        InstanceMethod<&CpuDevice::silu_mul>("siluMul"),
                        InstanceMethod<&CpuDevice::add>("add"),
                        InstanceMethod<&CpuDevice::nll>("nll"),
                        InstanceMethod<&CpuDevice::compare>("compare"),
                        InstanceMethod<&CpuDevice::any_non_finite>("anyNonFinite"),
                        InstanceMethod<&CpuDevice::first_difference>("firstDifference"),
                        InstanceMethod<&CpuDevice::quantise_fp8>("quantiseFp8"),
                        InstanceMethod<&CpuDevice::to_half>("toHalf")});
}

CpuDevice::CpuDevice(const Napi::CallbackInfo& info) : Napi::ObjectWrap<CpuDevice>(info) {
    Arguments arguments(info);
    const auto threads = static_cast<unsigned>(arguments.integer(0, "threads", 1, kMostThreads));
    const cpu::Implementation& implementation =
        implementation_named(info.Env(), arguments.string(1, "implementation"));
    state_ = std::make_shared<State>(implementation, threads);
    runner_ = PromiseRunner::create(info.Env(), 1);
}

void CpuDevice::enqueue(CpuArguments& arguments, Operation operation) {
    runner_->post(arguments.env(),
                  [state = state_.get(), operation = std::move(operation)] { state->perform(operation); });
    for (Held& held : arguments.take_held()) held_.push_back(std::move(held));
    if (held_.size() >= kMostHeld)
        run(
            arguments, [](cpu::Engine&) {}, undefined);
}

Napi::Value CpuDevice::run(CpuArguments& arguments, Operation operation, Outcome outcome) {
    for (Held& held : arguments.take_held()) held_.push_back(std::move(held));
    const auto held = std::make_shared<std::vector<Held>>(std::move(held_));
    held_.clear();
    Pins pins = arguments.take_pins();
    pins.push_back(Napi::Persistent(Value()));  // the device, and so what later operations hold
    return runner_->run(arguments.env(), std::move(pins),
                        [state = state_.get(), operation = std::move(operation), outcome = std::move(outcome),
                         held]() -> Outcome {
                            state->perform(operation);
                            if (state->failure) std::rethrow_exception(state->failure);
                            return outcome;
                        });
}

/// allocate(rows, cols)
Napi::Value CpuDevice::allocate(const Napi::CallbackInfo& info) {
    CpuArguments arguments(info, owner());
    const size_t rows = arguments.integer(0, "rows", 1, kMostRows);
    const size_t cols = arguments.integer(1, "cols", 1, kMostRows);
    return wrap(info.Env(), new_activations(owner(), rows, cols));
}

/// view(x, firstRow, rows, firstCol, cols)
Napi::Value CpuDevice::view(const Napi::CallbackInfo& info) {
    CpuArguments arguments(info, owner());
    const cpu::MatrixView x = arguments.activations(0, "x");
    const size_t first_row = arguments.integer(1, "first", 0, x.rows - 1);
    const size_t rows = arguments.integer(2, "count", 1, x.rows - first_row);
    const size_t first_col = arguments.integer(3, "first", 0, x.cols - 1);
    const size_t cols = arguments.integer(4, "count", 1, x.cols - first_col);
    const cpu::MatrixView part{x.row(first_row) + first_col, rows, cols, x.stride};
    return wrap(info.Env(), {owner(), arguments.take_held().front(), part});
}

/// constants(values)
Napi::Value CpuDevice::constants(const Napi::CallbackInfo& info) {
    CpuArguments arguments(info, owner());
    return wrap(info.Env(), new_constants(owner(), arguments.floats(0, "values")));
}

/// weights(kind, rows, cols, bytes, lower | scales, shifts)
Napi::Value CpuDevice::weights(const Napi::CallbackInfo& info) {
    CpuArguments arguments(info, owner());
    const std::string kind = arguments.string(0, "kind");
    const size_t rows = arguments.integer(1, "rows", 1, kMostRows);
    const size_t cols = arguments.integer(2, "cols", 1, kMostRows);
    return wrap(info.Env(), read_weights(arguments, owner(), kind, rows, cols));
}

/// free(handle)
void CpuDevice::free(const Napi::CallbackInfo& info) {
    CpuArguments arguments(info, owner());
    CpuHandle& handle = unwrap(info[0], "handle", owner());
    held_.push_back(handle.memory);
    handle.free(info.Env());
}

/// upload(values, x)
void CpuDevice::upload(const Napi::CallbackInfo& info) {
    CpuArguments arguments(info, owner());
    std::vector<float> values = arguments.floats(0, "values");
    const cpu::MatrixView x = arguments.activations(1, "x");
    arguments.check(values.size() == x.rows * x.cols, "values",
                    std::to_string(x.rows * x.cols) + " values (" + shape_text(x.rows, x.cols) + ")",
                    std::to_string(values.size()));
    enqueue(arguments, [values = std::move(values), x](cpu::Engine&) {
        for (size_t t = 0; t < x.rows; ++t) {
            std::memcpy(x.row(t), values.data() + t * x.cols, x.cols * sizeof(float));
        }
    });
}

/// download(x)
Napi::Value CpuDevice::download(const Napi::CallbackInfo& info) {
    CpuArguments arguments(info, owner());
    const cpu::MatrixView x = arguments.activations(0, "x");
    auto values = Napi::Float32Array::New(info.Env(), x.rows * x.cols);
    return run(
        arguments,
        [to = values.Data(), x](cpu::Engine&) {
            for (size_t t = 0; t < x.rows; ++t)
                std::memcpy(to + t * x.cols, x.row(t), x.cols * sizeof(float));
        },
        Kept(values).outcome());
}

/// finish()
Napi::Value CpuDevice::finish(const Napi::CallbackInfo& info) {
    CpuArguments arguments(info, owner());
    return run(
        arguments, [](cpu::Engine&) {}, undefined);
}

/// embedding(table, ids, out)
void CpuDevice::embedding(const Napi::CallbackInfo& info) {
    CpuArguments arguments(info, owner());
    const cpu::Table table = table_of(info, arguments.weights(0, "table"));
    const cpu::MatrixView out = arguments.activations(2, "out");
    arguments.check_shape(out, "out", out.rows, table.cols);
    const std::vector<int32_t> ids = arguments.indices(1, "ids", out.rows, table.rows);
    enqueue(arguments, [table, ids, out](cpu::Engine& engine) { cpu::embedding(engine, table, ids, out); });
}

/// rmsNorm(x, weight, eps, out)
void CpuDevice::rms_norm(const Napi::CallbackInfo& info) {
    CpuArguments arguments(info, owner());
    const cpu::MatrixView x = arguments.activations(0, "x");
    const Constants weight = arguments.constants(1, "weight");
    const double eps = arguments.number(2, "eps");
    const cpu::MatrixView out = arguments.activations(3, "out");
    arguments.check(x.cols % weight.length == 0, "weight",
                    "a divisor of " + std::to_string(x.cols) + " columns", std::to_string(weight.length));
    arguments.check(eps >= 0, "eps", "at least 0", std::to_string(eps));
    arguments.check_shape(out, "out", x.rows, x.cols);
    arguments.check_apart(out, x, "x", true);
    enqueue(arguments, [x, weight, eps, out](cpu::Engine& engine) {
        cpu::rms_norm(engine, x, weight.data, weight.length, static_cast<float>(eps), out);
    });
}

/// linear(x, weights, out, precision, quantise, bias | undefined)
void CpuDevice::linear(const Napi::CallbackInfo& info) {
    CpuArguments arguments(info, owner());
    cpu::LinearArguments call;
    call.x = arguments.activations(0, "x");
    call.out = arguments.activations(2, "out");
    const std::string precision = arguments.string(3, "precision");
    call.quantise_x = arguments.boolean(4, "quantise") && precision != "fp16" && precision != "nested-fp16";
    choose_loader(info, arguments.weights(1, "weights"), precision, call);
    const cpu::WeightView& weights = call.weights;
    arguments.check_shape(call.x, "x", call.x.rows, weights.cols);
    arguments.check_shape(call.out, "out", call.x.rows, weights.rows);
    arguments.check_apart(call.out, call.x, "x");
    if (!arguments.is_undefined(5)) {
        const Constants bias = arguments.constants(5, "bias");
        arguments.check(bias.length == weights.rows, "bias", std::to_string(weights.rows) + " values",
                        std::to_string(bias.length));
        call.bias = bias.data;
    }
    enqueue(arguments, [call](cpu::Engine& engine) { cpu::linear(engine, call); });
}

/// rope(x, headDim, rotaryDim, cos, sin, positions)
void CpuDevice::rope(const Napi::CallbackInfo& info) {
    CpuArguments arguments(info, owner());
    cpu::RopeArguments call;
    call.x = arguments.activations(0, "x");
    call.head_dim = arguments.integer(1, "headDim", 2, call.x.cols);
    const size_t rotary_dim = arguments.integer(2, "rotaryDim", 2, call.head_dim);
    call.half = rotary_dim / 2;
    const Constants cos = arguments.constants(3, "cos");
    const Constants sin = arguments.constants(4, "sin");
    call.cos = cos.data;
    call.sin = sin.data;
    arguments.check(call.x.cols % call.head_dim == 0, "headDim",
                    "a divisor of " + std::to_string(call.x.cols) + " columns",
                    std::to_string(call.head_dim));
    arguments.check(rotary_dim % 2 == 0, "rotaryDim", "an even number", std::to_string(rotary_dim));
    arguments.check(cos.length % call.half == 0, "cos", "rows of " + std::to_string(call.half) + " values",
                    std::to_string(cos.length));
    arguments.check(sin.length == cos.length, "sin", std::to_string(cos.length) + " values",
                    std::to_string(sin.length));
    const std::vector<int32_t> positions =
        arguments.indices(5, "positions", call.x.rows, cos.length / call.half);
    enqueue(arguments, [call, positions](cpu::Engine& engine) {
        cpu::RopeArguments with_positions = call;
        with_positions.positions = positions;
        cpu::rope(engine, with_positions);
    });
}

/// attention(q, k, v, out, sequenceLengths, heads, kvHeads, headDim, scale, slidingWindow | undefined)
void CpuDevice::attention(const Napi::CallbackInfo& info) {
    CpuArguments arguments(info, owner());
    cpu::AttentionArguments call;
    call.q = arguments.activations(0, "q");
    call.k = arguments.activations(1, "k");
    call.v = arguments.activations(2, "v");
    call.out = arguments.activations(3, "out");
    const std::vector<int32_t> lengths = arguments.integers(4, "sequenceLengths");
    call.heads = arguments.integer(5, "heads", 1, kMostRows);
    call.kv_heads = arguments.integer(6, "kvHeads", 1, call.heads);
    call.head_dim = arguments.integer(7, "headDim", 1, kMostRows);
    const double scale = arguments.number(8, "scale");
    call.scale = static_cast<float>(scale);
    const size_t rows = call.q.rows;
    const size_t window =
        arguments.is_undefined(9) ? rows : arguments.integer(9, "slidingWindow", 1, kMostRows);
    call.window = std::min(window, rows);
    arguments.check(call.heads % call.kv_heads == 0, "kvHeads", "a divisor of " + std::to_string(call.heads),
                    std::to_string(call.kv_heads));
    arguments.check(scale > 0 && std::isfinite(scale), "scale", "a number above 0", std::to_string(scale));
    arguments.check_shape(call.q, "q", rows, call.heads * call.head_dim);
    arguments.check_shape(call.k, "k", rows, call.kv_heads * call.head_dim);
    arguments.check_shape(call.v, "v", rows, call.kv_heads * call.head_dim);
    arguments.check_shape(call.out, "out", rows, call.heads * call.head_dim);
    arguments.check_apart(call.out, call.q, "q");
    arguments.check_apart(call.out, call.k, "k");
    arguments.check_apart(call.out, call.v, "v");
    size_t sum = 0;
    for (const int32_t length : lengths) {
        arguments.check(length >= 1, "sequenceLengths", "lengths of at least 1", std::to_string(length));
        sum += static_cast<size_t>(length);
    }
    arguments.check(sum == rows, "sequenceLengths", "a sum of " + std::to_string(rows), std::to_string(sum));
    enqueue(arguments, [call, lengths](cpu::Engine& engine) {
        cpu::AttentionArguments with_lengths = call;
        with_lengths.sequence_lengths = lengths;
        cpu::attention(engine, with_lengths);
    });
}

/// siluMul(gate, up, out)
void CpuDevice::silu_mul(const Napi::CallbackInfo& info) {
    CpuArguments arguments(info, owner());
    const cpu::MatrixView gate = arguments.activations(0, "gate");
    const cpu::MatrixView up = arguments.activations(1, "up");
    const cpu::MatrixView out = arguments.activations(2, "out");
    arguments.check_shape(up, "up", gate.rows, gate.cols);
    arguments.check_shape(out, "out", gate.rows, gate.cols);
    arguments.check_apart(out, gate, "gate", true);
    arguments.check_apart(out, up, "up", true);
    enqueue(arguments, [gate, up, out](cpu::Engine& engine) { cpu::silu_mul(engine, gate, up, out); });
}

/// add(x, y)
void CpuDevice::add(const Napi::CallbackInfo& info) {
    CpuArguments arguments(info, owner());
    const cpu::MatrixView x = arguments.activations(0, "x");
    const cpu::MatrixView y = arguments.activations(1, "y");
    arguments.check_shape(y, "y", x.rows, x.cols);
    arguments.check_apart(x, y, "y", true);
    enqueue(arguments, [x, y](cpu::Engine& engine) { cpu::add(engine, x, y); });
}

/// nll(logits, targets)
Napi::Value CpuDevice::nll(const Napi::CallbackInfo& info) {
    CpuArguments arguments(info, owner());
    const cpu::MatrixView logits = arguments.activations(0, "logits");
    const std::vector<int32_t> targets = arguments.indices(1, "targets", logits.rows, logits.cols);
    auto result = Napi::Float64Array::New(info.Env(), logits.rows);
    return run(
        arguments,
        [logits, targets, to = result.Data()](cpu::Engine& engine) { cpu::nll(engine, logits, targets, to); },
        Kept(result).outcome());
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
        Kept(result).outcome());
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
        Kept(result).outcome());
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
        Kept(result).outcome());
}

}  // namespace nestedfp::napi
