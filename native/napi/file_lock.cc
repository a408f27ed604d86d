#include "napi/file_lock.h"

#include <sys/file.h>

#include <cerrno>
#include <climits>
#include <cstring>
#include <string>

#include "napi/arguments.h"

namespace nestedfp::napi {
namespace {

std::string errno_name(int error) {
    switch (error) {
        case EBADF:
            return "EBADF";
        case EINVAL:
            return "EINVAL";
        case EIO:
            return "EIO";
        case ENOLCK:
            return "ENOLCK";
        case ENOSYS:
            return "ENOSYS";
        case ENOTSUP:
            return "ENOTSUP";
        default:
            return "errno " + std::to_string(error);
    }
}

}  // namespace

Napi::Value try_lock(const Napi::CallbackInfo& info) {
    const auto fd = static_cast<int>(Arguments(info).integer(0, "fd", 0, INT_MAX));
    int status = 0;
    do {
        status = flock(fd, LOCK_EX | LOCK_NB);
    } while (status != 0 && errno == EINTR);
    if (status == 0) return Napi::Boolean::New(info.Env(), true);
    const int error = errno;
    if (error == EWOULDBLOCK) return Napi::Boolean::New(info.Env(), false);
    const std::string name = errno_name(error);
    Napi::Error failure = Napi::Error::New(info.Env(), name + ": flock of descriptor " + std::to_string(fd) +
                                                           " failed, " + std::strerror(error));
    failure.Set("code", Napi::String::New(info.Env(), name));
    throw failure;
}

}  // namespace nestedfp::napi
