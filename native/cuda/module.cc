#include "cuda/module.h"

#include <unistd.h>

#include <fstream>
#include <iterator>
#include <vector>

#include "cuda/driver_api.h"
#include "cuda/error.h"

namespace nestedfp::cuda {
namespace {

std::vector<char> read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) {
        throw CudaError("KERNEL_NOT_FOUND", "the kernel " + path + " cannot be read",
                        "build it with `npm run build:kernels` (it needs nvcc of CUDA 12.8 or later)");
    }
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

std::string text_of(const Kernel::Launch& launch) {
    return "grid " + std::to_string(launch.grid) + ", block " + std::to_string(launch.block) + ", cluster " +
           std::to_string(launch.cluster) + ", " + std::to_string(launch.shared_bytes) + " bytes shared";
}

}  // namespace

Module::Module(const std::string& path) {
    const std::vector<char> image = read_file(path);
    const std::string call = "cuModuleLoadData(" + path + ")";
    check(driver().cuModuleLoadData(&handle_, image.data()), call.c_str(), __FILE__, __LINE__);
}

Module::~Module() { driver().cuModuleUnload(handle_); }

Kernel Module::kernel(const std::string& name) const {
    FunctionHandle function = nullptr;
    const std::string call = "cuModuleGetFunction(" + name + ")";
    check(driver().cuModuleGetFunction(&function, handle_, name.c_str()), call.c_str(), __FILE__, __LINE__);
    return {function, name};
}

void Kernel::allow_shared_bytes(unsigned bytes) const {
    const std::string call = "cuFuncSetAttribute(" + name_ +
                             ", CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, " + std::to_string(bytes) +
                             ")";
    check(driver().cuFuncSetAttribute(function_, kFunctionMaxDynamicSharedSizeBytes, static_cast<int>(bytes)),
          call.c_str(), __FILE__, __LINE__);
}

void Kernel::launch_with(const Launch& launch, void* parameters, const Stream& stream) const {
    LaunchAttribute attributes[2] = {};
    unsigned count = 0;
    if (launch.cluster > 1) {
        attributes[count].id = kLaunchClusterDimension;
        attributes[count++].value.cluster = {launch.cluster, 1, 1};
    }
    if (launch.overlaps) {
        attributes[count].id = kLaunchProgrammaticStreamSerialization;
        attributes[count++].value.programmatic_stream_serialization_allowed = 1;
    }
    const LaunchConfig config{launch.grid,     1,          1,    launch.block, 1, 1, launch.shared_bytes,
                              stream.handle(), attributes, count};
    void* arguments[] = {parameters};
    const Result result = driver().cuLaunchKernelEx(&config, function_, arguments, nullptr);
    if (result == kSuccess) return;
    const std::string call = "cuLaunchKernelEx(" + name_ + ", " + text_of(launch) + ")";
    check(result, call.c_str(), __FILE__, __LINE__);
}

const Module& ModuleFolder::module(const std::string& stem) {
    std::unique_ptr<Module>& slot = modules_[stem];
    if (!slot) slot = std::make_unique<Module>(path_of(stem));
    return *slot;
}

bool ModuleFolder::has(const std::string& stem) const { return access(path_of(stem).c_str(), R_OK) == 0; }

}  // namespace nestedfp::cuda
