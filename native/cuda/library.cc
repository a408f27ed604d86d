#include "cuda/library.h"

#include <dlfcn.h>
#include <glob.h>

#include "cuda/error.h"

namespace nestedfp::cuda {
namespace {

std::string last_dl_error() {
    const char* error = dlerror();
    return error == nullptr ? "unknown reason" : error;
}

}  // namespace

Library Library::open(const std::string& title, const std::vector<std::string>& candidates,
                      const std::string& hint) {
    std::string reasons;
    for (const std::string& candidate : candidates) {
        dlerror();
        if (void* handle = dlopen(candidate.c_str(), RTLD_NOW | RTLD_LOCAL)) return {handle, candidate};
        reasons += (reasons.empty() ? "" : "; ") + last_dl_error();
    }
    throw CudaError("LIBRARY_NOT_FOUND", title + " cannot be loaded: " + reasons, hint);
}

void* Library::symbol(const char* name) const {
    if (void* address = find(name)) return address;
    throw CudaError("SYMBOL_NOT_FOUND", path_ + " has no " + name,
                    "update the NVIDIA driver or CUDA libraries");
}

void* Library::find(const char* name) const noexcept { return dlsym(handle_, name); }

std::vector<std::string> matching_paths(const std::vector<std::string>& patterns) {
    std::vector<std::string> paths;
    for (const std::string& pattern : patterns) {
        glob_t found{};
        if (glob(pattern.c_str(), 0, nullptr, &found) == 0) {
            for (size_t at = 0; at < found.gl_pathc; ++at) paths.emplace_back(found.gl_pathv[at]);
        }
        globfree(&found);
    }
    return paths;
}

}  // namespace nestedfp::cuda
