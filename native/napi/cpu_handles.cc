#include "napi/cpu_handles.h"

#include <string>
#include <utility>

#include "napi/arguments.h"

namespace nestedfp::napi {
namespace {

/// Tells handles of this addon from those of others; drawn at random once.
constexpr napi_type_tag kTag = {0x8f6d2c1b7a3e4950, 0xb1c5d9e3f7082a46};

void finalize(Napi::Env env, CpuHandle* handle) {
    handle->free(env);
    delete handle;
}

}  // namespace

void CpuHandle::free(Napi::Env env) {
    memory.reset();
    if (bytes != 0) Napi::MemoryManagement::AdjustExternalMemory(env, -bytes);
    bytes = 0;
}

Napi::Value wrap(Napi::Env env, CpuHandle handle) {
    const int64_t bytes = handle.bytes;
    auto owned = std::make_unique<CpuHandle>(std::move(handle));
    const auto external = Napi::External<CpuHandle>::New(env, owned.get(), finalize);
    owned.release();
    external.TypeTag(&kTag);
    if (bytes != 0) Napi::MemoryManagement::AdjustExternalMemory(env, bytes);
    return external;
}

CpuHandle& unwrap(const Napi::Value& value, const char* name, const void* owner) {
    if (!value.IsExternal()) throw type_error(value, name, "a handle of this device");
    const auto external = value.As<Napi::External<CpuHandle>>();
    if (!external.CheckTypeTag(&kTag)) throw type_error(value, name, "a handle of this device");
    CpuHandle& handle = *external.Data();
    if (handle.owner != owner) {
        throw Napi::TypeError::New(
            value.Env(), std::string(name) + ": expected a handle of this device, got another device's");
    }
    if (handle.memory == nullptr) {
        throw Napi::TypeError::New(value.Env(),
                                   std::string(name) + ": expected a live handle, got a freed one");
    }
    return handle;
}

}  // namespace nestedfp::napi
