#pragma once

#include <napi.h>

namespace nestedfp::napi {

/// tryLock(fd): an exclusive flock(2) on an open file. It ends with the last copy of the descriptor, and so
/// with the process. @returns false when another open file description holds it. @throws an Error with
/// `code`.
Napi::Value try_lock(const Napi::CallbackInfo& info);

}  // namespace nestedfp::napi
