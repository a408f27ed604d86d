#include "napi/cpu_device.h"

#include <cstring>
#include <exception>
#include <string>
#include <utility>

#include "cpu/dispatch.h"
#include "napi/cpu_memory.h"

namespace nestedfp::napi {
namespace {

/// Above any machine's; a number that large is a mistake.
constexpr unsigned kMostThreads = 1024;

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
    const auto held = std::make_shared<std::vector<Held>>(held_);
    for (Held& of_this : arguments.take_held()) held->push_back(std::move(of_this));
    Pins pins = arguments.take_pins();
    pins.push_back(Napi::Persistent(Value()));  // the device, and so what later operations hold
    const Napi::Value promise = runner_->run(arguments.env(), std::move(pins),
                                             [state = state_.get(), operation = std::move(operation),
                                              outcome = std::move(outcome), held]() -> Outcome {
                                                 state->perform(operation);
                                                 if (state->failure) std::rethrow_exception(state->failure);
                                                 return outcome;
                                             });
    held_.clear();  // not before: a closed runner throws while its last operations may still run
    return promise;
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
        value_of(values));
}

/// finish()
Napi::Value CpuDevice::finish(const Napi::CallbackInfo& info) {
    CpuArguments arguments(info, owner());
    return run(
        arguments, [](cpu::Engine&) {}, undefined);
}

}  // namespace nestedfp::napi
