#include "cuda/driver_api.h"

#include <string>

#include "cuda/error.h"
#include "cuda/library.h"

namespace nestedfp::cuda {
namespace {

DriverApi open_driver() {
    const Library library = Library::open("the NVIDIA driver (libcuda.so.1)", {"libcuda.so.1"},
                                          "install the NVIDIA driver, or use --device cpu");
    DriverApi api{};
#define NESTEDFP_RESOLVE(name, symbol_name, parameters) \
    api.name = reinterpret_cast<Result(*) parameters>(library.symbol(symbol_name));
    NESTEDFP_DRIVER_FUNCTIONS(NESTEDFP_RESOLVE)
#undef NESTEDFP_RESOLVE

    // Not through check(): that needs the table.
    if (const Result result = api.cuInit(0); result != kSuccess) {
        const char* name = nullptr;
        const char* description = nullptr;
        api.cuGetErrorName(result, &name);
        api.cuGetErrorString(result, &description);
        const std::string known = name == nullptr ? "CUresult " + std::to_string(result) : name;
        throw CudaError(
            known,
            failure_text("cuInit(0)", known, description == nullptr ? "no description" : description,
                         __FILE__, __LINE__),
            "check that `nvidia-smi` lists a GPU, or use --device cpu");
    }
    return api;
}

}  // namespace

const DriverApi& driver() {
    static const DriverApi api = open_driver();
    return api;
}

}  // namespace nestedfp::cuda
