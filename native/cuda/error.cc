#include "cuda/error.h"

#include <string_view>

#include "cuda/driver_api.h"

namespace nestedfp::cuda {
namespace {

/// From "cuda/" on: build folders differ.
std::string_view short_path(std::string_view file) {
    const size_t at = file.rfind("cuda/");
    return at == std::string_view::npos ? file : file.substr(at);
}

/// The call as CUDA's documentation writes it.
std::string_view without_table(std::string_view call) {
    constexpr std::string_view kPrefix = "driver().";
    return call.substr(0, kPrefix.size()) == kPrefix ? call.substr(kPrefix.size()) : call;
}

}  // namespace

std::string failure_text(const char* call, const std::string& name, const std::string& description,
                         const char* file, int line) {
    return std::string(without_table(call)) + " failed with " + name + " (" + description + ") at " +
           std::string(short_path(file)) + ":" + std::to_string(line);
}

void check(Result result, const char* call, const char* file, int line) {
    if (result == kSuccess) return;
    const char* name = nullptr;
    const char* description = nullptr;
    driver().cuGetErrorName(result, &name);
    driver().cuGetErrorString(result, &description);
    const std::string known = name == nullptr ? "CUresult " + std::to_string(result) : name;
    throw CudaError(known, failure_text(call, known, description == nullptr ? "no description" : description,
                                        file, line));
}

}  // namespace nestedfp::cuda
