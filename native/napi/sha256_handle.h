#pragma once

#include <napi.h>

#include <memory>

#include "napi/promise_runner.h"

namespace nestedfp::napi {

/// {update(bytes): Promise<void>, digest(): Promise<string>}, or null where SHA-256 is not available. The
/// calls of one handle run in order, and take a thread only while they run.
Napi::Value new_sha256_handle(Napi::Env env, std::shared_ptr<PromiseRunner> runner);

}  // namespace nestedfp::napi
