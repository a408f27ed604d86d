#include "napi/cuda_values.h"

namespace nestedfp::napi {
namespace {

template <typename T>
void set_known(Napi::Object object, const char* name, const std::optional<T>& value) {
    if (value) object[name] = Napi::Number::New(object.Env(), static_cast<double>(*value));
}

Napi::Number number(Napi::Env env, uint64_t value) {
    return Napi::Number::New(env, static_cast<double>(value));
}

}  // namespace

Napi::Object to_js(Napi::Env env, const cuda::DeviceInfo& info) {
    Napi::Object object = Napi::Object::New(env);
    object["ordinal"] = Napi::Number::New(env, info.ordinal);
    object["name"] = Napi::String::New(env, info.name);
    object["computeCapability"] =
        Napi::String::New(env, std::to_string(info.major) + "." + std::to_string(info.minor));
    object["smCount"] = Napi::Number::New(env, info.sm_count);
    object["memoryBytes"] = number(env, info.memory_bytes);
    object["memoryBandwidth"] = Napi::Number::New(env, info.memory_bandwidth);
    object["l2Bytes"] = number(env, info.l2_bytes);
    return object;
}

Napi::Object to_js(Napi::Env env, const cuda::DeviceState& state) {
    Napi::Object object = Napi::Object::New(env);
    set_known(object, "smClockMhz", state.sm_clock_mhz);
    set_known(object, "memoryClockMhz", state.memory_clock_mhz);
    set_known(object, "powerW", state.power_w);
    set_known(object, "temperatureC", state.temperature_c);
    Napi::Array reasons = Napi::Array::New(env);
    for (const std::string& reason : state.throttle_reasons) {
        reasons.Set(reasons.Length(), Napi::String::New(env, reason));
    }
    object["throttleReasons"] = reasons;
    return object;
}

Napi::Object to_js(Napi::Env env, const cuda::CheckResult& check) {
    Napi::Object object = Napi::Object::New(env);
    object["ok"] = Napi::Boolean::New(env, check.ok);
    object["relErr"] = Napi::Number::New(env, check.relative_error);
    object["largestErr"] = Napi::Number::New(env, check.largest_error);
    object["nan"] = number(env, check.nan);
    object["overrun"] = number(env, check.overrun);
    object["changed"] = number(env, check.changed);
    if (check.bitwise) object["bitwise"] = Napi::Boolean::New(env, *check.bitwise);
    return object;
}

Napi::Object to_js(Napi::Env env, const cuda::IdentityResult& result) {
    Napi::Object object = Napi::Object::New(env);
    object["mismatches"] = number(env, result.mismatches);
    if (result.mismatches > 0) object["first"] = number(env, result.first);
    return object;
}

}  // namespace nestedfp::napi
