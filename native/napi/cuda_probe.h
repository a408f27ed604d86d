#pragma once

#include <napi.h>

namespace nestedfp::napi {

/// cudaProbe(): what of CUDA is on this machine, with the reason for what is not.
Napi::Value cuda_probe(const Napi::CallbackInfo& info);

/// cudaGemmConfigs(): the rows of kernels/interface/configs.h.
Napi::Value cuda_gemm_configs(const Napi::CallbackInfo& info);

}  // namespace nestedfp::napi
