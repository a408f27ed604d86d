#include "cuda/cublaslt.h"

#include <cstdlib>

#include "cuda/error.h"

namespace nestedfp::cuda {
namespace {

/// Where the loader looks, then where the CUDA toolkit and Python wheels put it. An explicit path comes
/// first.
std::vector<std::string> candidates() {
    std::vector<std::string> paths;
    if (const char* chosen = std::getenv("NESTEDFP_CUBLASLT")) paths.emplace_back(chosen);
    paths.emplace_back("libcublasLt.so.13");
    paths.emplace_back("libcublasLt.so.12");
    std::vector<std::string> patterns = {"/usr/local/cuda/lib64/libcublasLt.so.1[23]",
                                         "/usr/local/cuda-1[23]*/lib64/libcublasLt.so.1[23]"};
    std::vector<std::string> prefixes = {"/usr", "/usr/local", "/opt/*"};
    for (const char* variable : {"VIRTUAL_ENV", "CONDA_PREFIX"}) {
        if (const char* prefix = std::getenv(variable)) prefixes.insert(prefixes.begin(), prefix);
    }
    for (const std::string& prefix : prefixes) {
        for (const char* packages : {"site-packages", "dist-packages"}) {
            patterns.push_back(prefix + "/lib/python3*/" + packages + "/nvidia/*/lib/libcublasLt.so.1[23]");
        }
    }
    for (std::string& path : matching_paths(patterns)) paths.push_back(std::move(path));
    return paths;
}

Library open_library() {
    return Library::open("libcublasLt", candidates(),
                         "install the CUDA toolkit 12 or 13, or set NESTEDFP_CUBLASLT to libcublasLt.so");
}

/// 130101 is 13.1.1, as 120904 is 12.9.4.
std::string version_of(const Library& library) {
    const size_t version = reinterpret_cast<size_t (*)()>(library.symbol("cublasLtGetVersion"))();
    return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
           std::to_string(version % 100);
}

}  // namespace

CublasLt::CublasLt() : library_(open_library()), version_(version_of(library_)) {
#define NESTEDFP_RESOLVE(name, parameters) \
    name = reinterpret_cast<CublasStatus(*) parameters>(library_.symbol("cublasLt" #name));
    NESTEDFP_CUBLASLT_FUNCTIONS(NESTEDFP_RESOLVE)
#undef NESTEDFP_RESOLVE
    CUBLASLT_CALL(*this, Create(&handle_));
}

CublasLt::~CublasLt() { Destroy(handle_); }

void CublasLt::check(CublasStatus status, const char* call, const char* file, int line) const {
    if (status == kCublasSuccess) return;
    using Text = const char* (*)(CublasStatus);
    const auto text = [&](const char* symbol) -> std::string {
        void* address = library_.find(symbol);
        return address == nullptr ? "status " + std::to_string(status)
                                  : reinterpret_cast<Text>(address)(status);
    };
    const std::string name = text("cublasLtGetStatusName");
    throw CudaError(name, failure_text(call, name, text("cublasLtGetStatusString"), file, line));
}

CublasLtFile find_cublaslt() {
    const Library library = open_library();
    return {version_of(library), library.path()};
}

}  // namespace nestedfp::cuda
