#pragma once

#include <napi.h>

#include <functional>
#include <memory>

#include "napi/promise_runner.h"

namespace nestedfp::napi {

/// new CudaSession(ordinal, kernelsFolder): a device for benchmarks. All its CUDA calls come from one thread
/// of its own, in the order of the calls.
class CudaSession : public Napi::ObjectWrap<CudaSession> {
   public:
    static Napi::Function define(Napi::Env env);

    explicit CudaSession(const Napi::CallbackInfo& info);
    ~CudaSession() override { runner_->close(); }

   private:
    struct State;
    using Operation = std::function<Outcome(State&)>;

    Napi::Value open(const Napi::CallbackInfo& info);
    Napi::Value state(const Napi::CallbackInfo& info);
    Napi::Value layer(const Napi::CallbackInfo& info);
    Napi::Value free_layer(const Napi::CallbackInfo& info);
    Napi::Value check(const Napi::CallbackInfo& info);
    Napi::Value time(const Napi::CallbackInfo& info);
    Napi::Value time_quantiser(const Napi::CallbackInfo& info);
    Napi::Value identity(const Napi::CallbackInfo& info);
    Napi::Value description(const Napi::CallbackInfo& info);
    Napi::Value split_planes(const Napi::CallbackInfo& info);
    Napi::Value join_planes(const Napi::CallbackInfo& info);
    Napi::Value quantise_rows(const Napi::CallbackInfo& info);
    void close(const Napi::CallbackInfo& info);

    Napi::Value run(const Napi::CallbackInfo& info, Operation operation, Pins pins = {});

    std::shared_ptr<State> state_;
    std::shared_ptr<PromiseRunner> runner_;
    bool closed_ = false;
};

}  // namespace nestedfp::napi
