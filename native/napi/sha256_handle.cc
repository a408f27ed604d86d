#include "napi/sha256_handle.h"

#include <utility>

#include "codec/sha256.h"
#include "napi/arguments.h"
#include "pool/serial_queue.h"

namespace nestedfp::napi {
namespace {

struct Hash {
    Hash(std::shared_ptr<PromiseRunner> on, std::shared_ptr<pool::SerialQueue> in_order)
        : runner(std::move(on)), order(std::move(in_order)) {}

    std::shared_ptr<PromiseRunner> runner;
    std::shared_ptr<pool::SerialQueue> order;
    codec::Sha256 state;
    bool is_finished = false;  // read and written on the main thread
};

void check_unfinished(Napi::Env env, const Hash& hash) {
    if (hash.is_finished) throw Napi::Error::New(env, "sha256: digest() has been called already");
}

Napi::Value update(const Napi::CallbackInfo& info, const std::shared_ptr<Hash>& hash) {
    Arguments arguments(info);
    const Bytes bytes = arguments.bytes(0, "bytes");
    check_unfinished(info.Env(), *hash);
    const Work work = [hash, bytes]() -> Outcome {
        hash->state.update(bytes.data, bytes.size);
        return [](Napi::Env env) { return env.Undefined(); };
    };
    return hash->runner->run(info.Env(), arguments.take_pins(), work, hash->order.get());
}

Napi::Value digest(const Napi::CallbackInfo& info, const std::shared_ptr<Hash>& hash) {
    check_unfinished(info.Env(), *hash);
    const Work work = [hash]() -> Outcome {
        return [hex = hash->state.digest()](Napi::Env env) -> Napi::Value {
            return Napi::String::New(env, hex);
        };
    };
    const Napi::Promise promise = hash->runner->run(info.Env(), {}, work, hash->order.get());
    hash->is_finished = true;
    return promise;
}

}  // namespace

Napi::Value new_sha256_handle(Napi::Env env, std::shared_ptr<PromiseRunner> runner) {
    if (!codec::Sha256::is_available()) return env.Null();
    auto order = runner->new_order();
    const auto hash = std::make_shared<Hash>(std::move(runner), std::move(order));
    Napi::Object handle = Napi::Object::New(env);
    handle["update"] = Napi::Function::New(
        env, [hash](const Napi::CallbackInfo& info) { return update(info, hash); }, "update");
    handle["digest"] = Napi::Function::New(
        env, [hash](const Napi::CallbackInfo& info) { return digest(info, hash); }, "digest");
    return handle;
}

}  // namespace nestedfp::napi
