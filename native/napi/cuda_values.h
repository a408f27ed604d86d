#pragma once

#include <napi.h>

#include "cuda/bench_layer.h"
#include "cuda/device_info.h"
#include "cuda/nvml.h"

namespace nestedfp::napi {

Napi::Object to_js(Napi::Env env, const cuda::DeviceInfo& info);
Napi::Object to_js(Napi::Env env, const cuda::DeviceState& state);
Napi::Object to_js(Napi::Env env, const cuda::CheckResult& check);
Napi::Object to_js(Napi::Env env, const cuda::IdentityResult& result);

}  // namespace nestedfp::napi
