#include <napi.h>

#include "codec/dispatch.h"
#include "cpu/dispatch.h"
#include "napi/codec_pool.h"
#include "napi/cpu_device.h"
#include "napi/cuda_probe.h"
#include "napi/cuda_session.h"
#include "napi/file_lock.h"

namespace {

/// Names that this CPU runs, best first.
Napi::Value implementations(const Napi::CallbackInfo& info) {
    Napi::Array names = Napi::Array::New(info.Env());
    for (const nestedfp::codec::Implementation* implementation :
         nestedfp::codec::supported_implementations()) {
        names.Set(names.Length(), Napi::String::New(info.Env(), implementation->name));
    }
    return names;
}

/// The same for the CPU device.
Napi::Value cpu_implementations(const Napi::CallbackInfo& info) {
    Napi::Array names = Napi::Array::New(info.Env());
    for (const nestedfp::cpu::Implementation* implementation : nestedfp::cpu::supported_implementations()) {
        names.Set(names.Length(), Napi::String::New(info.Env(), implementation->name));
    }
    return names;
}

// The types of these are in src/native/binding.ts.
Napi::Object export_all(Napi::Env env, Napi::Object exports) {
    exports["implementations"] = Napi::Function::New<implementations>(env, "implementations");
    exports["Pool"] = nestedfp::napi::CodecPool::define(env);
    exports["cpuImplementations"] = Napi::Function::New<cpu_implementations>(env, "cpuImplementations");
    exports["CpuDevice"] = nestedfp::napi::CpuDevice::define(env);
    exports["cudaProbe"] = Napi::Function::New<nestedfp::napi::cuda_probe>(env, "cudaProbe");
    exports["cudaGemmConfigs"] =
        Napi::Function::New<nestedfp::napi::cuda_gemm_configs>(env, "cudaGemmConfigs");
    exports["CudaSession"] = nestedfp::napi::CudaSession::define(env);
    exports["tryLock"] = Napi::Function::New<nestedfp::napi::try_lock>(env, "tryLock");
    return exports;
}

}  // namespace

NODE_API_MODULE(nestedfp, export_all)
