#include "napi/cuda_probe.h"

#include "cuda/cublaslt.h"
#include "cuda/device_info.h"
#include "cuda/error.h"
#include "cuda/nvml.h"
#include "interface/configs.h"
#include "napi/cuda_values.h"

namespace nestedfp::napi {
namespace {

Napi::Object to_js(Napi::Env env, const cuda::CudaError& error) {
    Napi::Object object = Napi::Object::New(env);
    object["code"] = Napi::String::New(env, error.code());
    object["message"] = Napi::String::New(env, error.what());
    object["hint"] = Napi::String::New(env, error.hint());
    return object;
}

const char* name_of(kernels::Weights weights) {
    switch (weights) {
        case kernels::Weights::kPlain16:
            return "plain16";
        case kernels::Weights::kNested16:
            return "nested16";
        case kernels::Weights::kW8A16:
            return "w8a16";
        case kernels::Weights::kW8A8:
            return "w8a8";
        case kernels::Weights::kW8A8F32:
            return "w8a8f32";
        case kernels::Weights::kA8W8:
            return "a8w8";
    }
    return "unknown";
}

}  // namespace

Napi::Value cuda_probe(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    Napi::Object result = Napi::Object::New(env);
    Napi::Array gpus = Napi::Array::New(env);
    result["gpus"] = gpus;
    try {
        result["cuda"] = Napi::String::New(env, cuda::driver_cuda_version());
        for (int ordinal = 0; ordinal < cuda::device_count(); ++ordinal) {
            gpus.Set(gpus.Length(), to_js(env, cuda::device_info(ordinal)));
        }
    } catch (const cuda::CudaError& error) {
        result["error"] = to_js(env, error);
    }
    try {
        const cuda::CublasLtFile file = cuda::find_cublaslt();
        Napi::Object library = Napi::Object::New(env);
        library["version"] = Napi::String::New(env, file.version);
        library["path"] = Napi::String::New(env, file.path);
        result["cublaslt"] = library;
    } catch (const cuda::CudaError& error) {
        result["cublasltError"] = to_js(env, error);
    }
    try {
        const cuda::Nvml nvml;
        result["driver"] = Napi::String::New(env, nvml.driver_version());
        result["nvml"] = Napi::String::New(env, nvml.version());
    } catch (const cuda::CudaError& error) {
        result["nvmlError"] = to_js(env, error);
    }
    return result;
}

Napi::Value cuda_gemm_configs(const Napi::CallbackInfo& info) {
    Napi::Env env = info.Env();
    Napi::Array rows = Napi::Array::New(env);
    for (const kernels::GemmConfig& config : kernels::kGemmConfigs) {
        Napi::Object row = Napi::Object::New(env);
        row["name"] = Napi::String::New(env, config.name);
        row["weights"] = Napi::String::New(env, name_of(config.weights));
        row["blockRows"] = Napi::Number::New(env, config.block_rows());
        row["blockTokens"] = Napi::Number::New(env, config.block_tokens);
        row["blockK"] = Napi::Number::New(env, config.block_k());
        row["tokenStagesPerStep"] = Napi::Number::New(env, config.token_stages_per_step());
        row["stages"] = Napi::Number::New(env, config.stages);
        row["clusterRows"] = Napi::Number::New(env, config.cluster_rows);
        row["clusterTokens"] = Napi::Number::New(env, config.cluster_tokens);
        row["sharedBytes"] = Napi::Number::New(env, config.shared_bytes());
        rows.Set(rows.Length(), row);
    }
    return rows;
}

}  // namespace nestedfp::napi
