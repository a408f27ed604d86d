#pragma once

#include <napi.h>

#include <functional>
#include <memory>
#include <vector>

#include "cpu/engine.h"
#include "napi/cpu_arguments.h"
#include "napi/promise_runner.h"

namespace nestedfp::napi {

/// Settles a promise with a value made before, such as an array that an operation fills.
inline Outcome value_of(const Napi::Object& value) {
    // Shared, as an Outcome is copied; the last copy goes on the main thread.
    auto reference = std::make_shared<Napi::ObjectReference>(Napi::Persistent(value));
    return [reference](Napi::Env) -> Napi::Value { return reference->Value(); };
}

/// new CpuDevice(threads, implementation): the operations of src/device/device.ts, one after another on a
/// thread of its own, which shares the work of each with the others of its team.
class CpuDevice : public Napi::ObjectWrap<CpuDevice> {
   public:
    static Napi::Function define(Napi::Env env);

    explicit CpuDevice(const Napi::CallbackInfo& info);
    ~CpuDevice() override { runner_->close(); }

   private:
    struct State;
    using Operation = std::function<void(cpu::Engine&)>;

    Napi::Value allocate(const Napi::CallbackInfo& info);
    Napi::Value view(const Napi::CallbackInfo& info);
    Napi::Value constants(const Napi::CallbackInfo& info);
    Napi::Value weights(const Napi::CallbackInfo& info);
    void free(const Napi::CallbackInfo& info);
    void upload(const Napi::CallbackInfo& info);
    Napi::Value download(const Napi::CallbackInfo& info);
    Napi::Value finish(const Napi::CallbackInfo& info);
    void close(const Napi::CallbackInfo&) { runner_->close(); }

    void embedding(const Napi::CallbackInfo& info);
    void rms_norm(const Napi::CallbackInfo& info);
    void linear(const Napi::CallbackInfo& info);
    void rope(const Napi::CallbackInfo& info);
    void attention(const Napi::CallbackInfo& info);
    void silu_mul(const Napi::CallbackInfo& info);
    void add(const Napi::CallbackInfo& info);

    Napi::Value nll(const Napi::CallbackInfo& info);
    Napi::Value compare(const Napi::CallbackInfo& info);
    Napi::Value any_non_finite(const Napi::CallbackInfo& info);
    Napi::Value first_difference(const Napi::CallbackInfo& info);
    Napi::Value quantise_fp8(const Napi::CallbackInfo& info);
    Napi::Value to_half(const Napi::CallbackInfo& info);

    const void* owner() const { return state_.get(); }

    /// After those before it; `held` lives until it is done.
    void enqueue(CpuArguments& arguments, Operation operation);
    /// The same with a promise of `outcome`'s value, which may use what `pins` and `held` keep.
    Napi::Value run(CpuArguments& arguments, Operation operation, Outcome outcome);

    std::shared_ptr<State> state_;
    std::shared_ptr<PromiseRunner> runner_;
    /// Of the operations since the last promise, whose settling lets go of it.
    std::vector<Held> held_;
};

}  // namespace nestedfp::napi
