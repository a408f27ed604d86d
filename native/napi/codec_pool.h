#pragma once

#include <napi.h>

#include <memory>

#include "codec/implementation.h"
#include "napi/promise_runner.h"

namespace nestedfp::napi {

/// new Pool(threads, implementation): the operations of src/codec/codec.ts, one job each, as promises.
class CodecPool : public Napi::ObjectWrap<CodecPool> {
   public:
    static Napi::Function define(Napi::Env env);

    explicit CodecPool(const Napi::CallbackInfo& info);
    ~CodecPool() override { runner_->close(); }

   private:
    Napi::Value scan_rows(const Napi::CallbackInfo& info);
    Napi::Value count_losses(const Napi::CallbackInfo& info);
    Napi::Value split_rows(const Napi::CallbackInfo& info);
    Napi::Value collect_patches(const Napi::CallbackInfo& info);
    Napi::Value join_rows(const Napi::CallbackInfo& info);
    Napi::Value count_non_canonical(const Napi::CallbackInfo& info);
    Napi::Value noise_of(const Napi::CallbackInfo& info);
    Napi::Value crc32(const Napi::CallbackInfo& info);
    Napi::Value sha256(const Napi::CallbackInfo& info);
    void close(const Napi::CallbackInfo&) { runner_->close(); }

    const codec::Implementation* implementation_;
    std::shared_ptr<PromiseRunner> runner_;
};

}  // namespace nestedfp::napi
