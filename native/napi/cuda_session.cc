#include "napi/cuda_session.h"

#include "cuda/error.h"
#include "napi/arguments.h"
#include "napi/cuda_session_state.h"
#include "napi/cuda_values.h"

namespace nestedfp::napi {
namespace {

/// Rows and columns: above any layer's.
constexpr uint64_t kMostRows = uint64_t{1} << 24;
constexpr uint64_t kMostOrdinal = 1024;
constexpr uint64_t kMostLaunches = 100000;
constexpr uint64_t kMostSeed = (uint64_t{1} << 53) - 1;

double number_at(const Napi::CallbackInfo& info, size_t at, const char* name) {
    if (!info[at].IsNumber()) throw type_error(info[at], name, "a number");
    return info[at].As<Napi::Number>().DoubleValue();
}

std::vector<cuda::Precision> precisions_at(const Napi::CallbackInfo& info, size_t at) {
    if (!info[at].IsArray()) throw type_error(info[at], "precisions", "an array");
    const Napi::Array names = info[at].As<Napi::Array>();
    std::vector<cuda::Precision> precisions;
    for (uint32_t i = 0; i < names.Length(); ++i) {
        const Napi::Value name = names.Get(i);
        if (!name.IsString()) throw type_error(name, "precisions", "an array of strings");
        precisions.push_back(cuda::precision_named(name.As<Napi::String>().Utf8Value()));
    }
    return precisions;
}

/// (layer, precision, config), with which most methods begin.
struct Target {
    uint64_t layer;
    cuda::Contender contender;
};

Target target_of(Arguments& arguments) {
    const uint64_t layer = arguments.integer(0, "layer", 1, kMostSeed);
    const cuda::Precision precision = cuda::precision_named(arguments.string(1, "precision"));
    return {layer, cuda::contender_named(precision, arguments.string(2, "config"))};
}

template <typename T>
Outcome object_of(const T& value) {
    return [value](Napi::Env env) -> Napi::Value { return to_js(env, value); };
}

Outcome number_of(double value) {
    return [value](Napi::Env env) -> Napi::Value { return Napi::Number::New(env, value); };
}

Outcome text_of(const std::string& value) {
    return [value](Napi::Env env) -> Napi::Value { return Napi::String::New(env, value); };
}

Outcome undefined() {
    return [](Napi::Env env) -> Napi::Value { return env.Undefined(); };
}

}  // namespace

Napi::Function CudaSession::define(Napi::Env env) {
    return DefineClass(
        env, "CudaSession",
        {InstanceMethod<&CudaSession::open>("open"), InstanceMethod<&CudaSession::state>("state"),
         InstanceMethod<&CudaSession::layer>("layer"), InstanceMethod<&CudaSession::free_layer>("freeLayer"),
         InstanceMethod<&CudaSession::check>("check"), InstanceMethod<&CudaSession::time>("time"),
         InstanceMethod<&CudaSession::time_quantiser>("timeQuantiser"),
         InstanceMethod<&CudaSession::identity>("identity"),
         InstanceMethod<&CudaSession::description>("description"),
         InstanceMethod<&CudaSession::split_planes>("splitPlanes"),
         InstanceMethod<&CudaSession::join_planes>("joinPlanes"),
         InstanceMethod<&CudaSession::quantise_rows>("quantiseRows"),
         InstanceMethod<&CudaSession::close>("close")});
}

CudaSession::CudaSession(const Napi::CallbackInfo& info) : Napi::ObjectWrap<CudaSession>(info) {
    Arguments arguments(info);
    const auto ordinal = static_cast<int>(arguments.integer(0, "ordinal", 0, kMostOrdinal));
    state_ = std::make_shared<State>(ordinal, arguments.string(1, "kernelsFolder"));
    runner_ = PromiseRunner::create(info.Env(), 1);
}

Napi::Value CudaSession::run(const Napi::CallbackInfo& info, Operation operation, Pins pins) {
    pins.push_back(Napi::Persistent(Value()));
    return runner_->run(info.Env(), std::move(pins),
                        [state = state_, operation = std::move(operation)] { return operation(*state); });
}

/// open()
Napi::Value CudaSession::open(const Napi::CallbackInfo& info) {
    return run(info, [](State& state) -> Outcome {
        cuda::BenchSession& session = state.opened();
        const cuda::CublasLt* library = session.find_cublaslt();
        const std::string version = library == nullptr ? "" : library->version();
        return [info = session.info(), driver = session.driver(), version](Napi::Env env) -> Napi::Value {
            Napi::Object object = to_js(env, info);
            object["driver"] = Napi::String::New(env, driver);
            if (!version.empty()) object["cublaslt"] = Napi::String::New(env, version);
            return object;
        };
    });
}

/// state()
Napi::Value CudaSession::state(const Napi::CallbackInfo& info) {
    return run(info, [](State& state) { return object_of(state.opened().state()); });
}

/// layer(n, k, maxM, seed, precisions, sigma, rowShifts)
Napi::Value CudaSession::layer(const Napi::CallbackInfo& info) {
    Arguments arguments(info);
    cuda::LayerOptions options{
        .n = static_cast<int64_t>(arguments.integer(0, "n", 16, kMostRows)),
        .k = static_cast<int64_t>(arguments.integer(1, "k", 16, kMostRows)),
        .max_m = static_cast<int64_t>(arguments.integer(2, "maxM", 1, kMostRows)),
        .seed = arguments.integer(3, "seed", 0, kMostSeed),
        .precisions = precisions_at(info, 4),
        .sigma = static_cast<float>(number_at(info, 5, "sigma")),
        .has_row_shifts = arguments.boolean(6, "rowShifts"),
    };
    for (const auto& [name, size] : {std::pair{"n", options.n}, std::pair{"k", options.k}}) {
        if (size % 16 == 0) continue;
        throw Napi::RangeError::New(
            info.Env(), std::string(name) + ": expected a multiple of 16, got " + std::to_string(size));
    }
    return run(info, [options](State& state) {
        const uint64_t id = state.next_layer++;
        state.layers[id] = std::make_unique<cuda::BenchLayer>(state.opened(), options);
        return number_of(static_cast<double>(id));
    });
}

/// freeLayer(layer)
Napi::Value CudaSession::free_layer(const Napi::CallbackInfo& info) {
    const uint64_t id = Arguments(info).integer(0, "layer", 1, kMostSeed);
    return run(info, [id](State& state) {
        if (state.session) state.session->make_current();
        state.layers.erase(id);
        return undefined();
    });
}

/// check(layer, precision, config, m)
Napi::Value CudaSession::check(const Napi::CallbackInfo& info) {
    Arguments arguments(info);
    const Target target = target_of(arguments);
    const auto m = static_cast<int64_t>(arguments.integer(3, "m", 1, kMostRows));
    return run(info, [target, m](State& state) {
        return object_of(state.layer(target.layer).check(target.contender, m));
    });
}

/// time(layer, precision, config, m, launches, cold)
Napi::Value CudaSession::time(const Napi::CallbackInfo& info) {
    Arguments arguments(info);
    const Target target = target_of(arguments);
    const auto m = static_cast<int64_t>(arguments.integer(3, "m", 1, kMostRows));
    const auto launches = static_cast<int>(arguments.integer(4, "launches", 1, kMostLaunches));
    const bool cold = arguments.boolean(5, "cold");
    return run(info, [target, m, launches, cold](State& state) {
        return number_of(state.layer(target.layer).time(target.contender, m, launches, cold));
    });
}

/// timeQuantiser(layer, precision, config, m, launches)
Napi::Value CudaSession::time_quantiser(const Napi::CallbackInfo& info) {
    Arguments arguments(info);
    const Target target = target_of(arguments);
    const auto m = static_cast<int64_t>(arguments.integer(3, "m", 1, kMostRows));
    const auto launches = static_cast<int>(arguments.integer(4, "launches", 1, kMostLaunches));
    return run(info, [target, m, launches](State& state) {
        const auto time = state.layer(target.layer).time_quantiser(target.contender, m, launches);
        return time ? number_of(*time) : undefined();
    });
}

/// identity(layer, precision, config)
Napi::Value CudaSession::identity(const Napi::CallbackInfo& info) {
    Arguments arguments(info);
    const Target target = target_of(arguments);
    return run(info, [target](State& state) {
        return object_of(state.layer(target.layer).identity(target.contender));
    });
}

/// description(layer, precision, config, m)
Napi::Value CudaSession::description(const Napi::CallbackInfo& info) {
    Arguments arguments(info);
    const Target target = target_of(arguments);
    const auto m = static_cast<int64_t>(arguments.integer(3, "m", 1, kMostRows));
    return run(info, [target, m](State& state) {
        return text_of(state.layer(target.layer).description(target.contender, m));
    });
}

/// close()
void CudaSession::close(const Napi::CallbackInfo& info) {
    if (closed_) return;
    closed_ = true;
    run(info, [](State& state) {
        state.close();
        return undefined();
    });
    runner_->close();
}

}  // namespace nestedfp::napi
