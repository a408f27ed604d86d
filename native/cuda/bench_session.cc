#include "cuda/bench_session.h"

#include <algorithm>

#include "cuda/error.h"

namespace nestedfp::cuda {
namespace {

/// Twice what cuBLAS takes by itself on Hopper.
constexpr size_t kLibraryWorkspace = size_t{64} << 20;

/// Of the kernels' own.
constexpr size_t kLeastWorkspace = size_t{1} << 20;

/// The kernels are built for this architecture alone.
constexpr int kMajor = 9;
constexpr int kMinor = 0;

DeviceInfo usable_device(int ordinal) {
    const int count = device_count();
    if (ordinal < 0 || ordinal >= count) {
        throw CudaError("CUDA_ERROR_INVALID_DEVICE",
                        "cuda:" + std::to_string(ordinal) + " does not exist, there " +
                            (count == 1 ? "is 1 device" : "are " + std::to_string(count) + " devices"));
    }
    DeviceInfo info = device_info(ordinal);
    if (info.major != kMajor || info.minor != kMinor) {
        throw CudaError("UNSUPPORTED_DEVICE",
                        info.name + " has compute capability " + std::to_string(info.major) + "." +
                            std::to_string(info.minor) + ", the kernels are built for 9.0 (Hopper)",
                        "use --device cpu");
    }
    return info;
}

}  // namespace

BenchSession::BenchSession(int ordinal, const std::string& kernels_folder)
    : info_(usable_device(ordinal)),
      context_(ordinal),
      current_(context_),
      modules_(kernels_folder),
      operations_(modules_, info_.sm_count, stream_),
      library_workspace_(kLibraryWorkspace),
      launches_(sizeof(uint64_t)),
      flush_(2 * info_.l2_bytes) {
    launches_.fill(0, stream_);
    try {
        nvml_ = std::make_unique<Nvml>();
        nvml_device_ = nvml_->device(info_.pci_bus_id);
    } catch (const CudaError&) {
        nvml_.reset();  // the state is then empty, which its readers take as unknown
    }
}

BenchSession::~BenchSession() {
    try {
        make_current();  // it may be another thread that ends the session
    } catch (const CudaError&) {
        return;  // the device is gone, and its memory with it
    }
}

const DeviceBuffer& BenchSession::partials(size_t bytes) {
    if (partials_.empty() || partials_.back()->bytes() < bytes) {
        partials_.push_back(std::make_unique<DeviceBuffer>(std::max(bytes, kLeastWorkspace)));
        partials_.back()->fill(0, stream_);
        stream_.synchronize();
    }
    return *partials_.back();
}

std::string BenchSession::driver() const {
    const std::string cuda = "CUDA " + driver_cuda_version();
    return nvml_ ? nvml_->driver_version() + " (" + cuda + ")" : cuda;
}

const CublasLt& BenchSession::cublaslt() {
    if (!cublaslt_) cublaslt_ = std::make_unique<CublasLt>();
    return *cublaslt_;
}

const CublasLt* BenchSession::find_cublaslt() noexcept {
    try {
        return &cublaslt();
    } catch (const std::exception&) {
        return nullptr;
    }
}

DeviceState BenchSession::state() const { return nvml_ ? nvml_->state(nvml_device_) : DeviceState{}; }

}  // namespace nestedfp::cuda
