#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cuda/context.h"
#include "cuda/cublaslt.h"
#include "cuda/device_info.h"
#include "cuda/memory.h"
#include "cuda/module.h"
#include "cuda/nvml.h"
#include "cuda/operations.h"
#include "cuda/stream.h"

namespace nestedfp::cuda {

/// What the layers of one device share. All calls come from one thread, after make_current() there.
class BenchSession {
   public:
    /// @param kernels_folder of the cubins. @throws CudaError.
    BenchSession(int ordinal, const std::string& kernels_folder);
    ~BenchSession();
    BenchSession(const BenchSession&) = delete;
    BenchSession& operator=(const BenchSession&) = delete;

    void make_current() const { context_.make_current(); }

    const DeviceInfo& info() const { return info_; }
    /// "580.159.04 (CUDA 13.0)".
    std::string driver() const;
    /// Opened at the first use. @throws CudaError where there is none.
    const CublasLt& cublaslt();
    /// nullptr where there is none.
    const CublasLt* find_cublaslt() noexcept;
    DeviceState state() const;

    const Stream& stream() const { return stream_; }
    ModuleFolder& modules() { return modules_; }
    const Operations& operations() const { return operations_; }
    const DeviceBuffer& library_workspace() const { return library_workspace_; }
    /// At least so large, for partial sums, at first zero. Launches on the one stream share them; what graphs
    /// refer to stays.
    const DeviceBuffer& partials(size_t bytes);
    /// GemmParams::launches of all of them.
    const DeviceBuffer& launches() const { return launches_; }
    /// Pushes everything else out of the second-level cache.
    void flush_cache() const { flush_.fill(0, stream_); }

   private:
    struct Current {
        explicit Current(const PrimaryContext& context) { context.make_current(); }
    };

    DeviceInfo info_;
    PrimaryContext context_;
    Current current_;
    std::unique_ptr<Nvml> nvml_;
    Nvml::Device nvml_device_ = nullptr;
    Stream stream_;
    ModuleFolder modules_;
    Operations operations_;
    DeviceBuffer library_workspace_;
    /// The last is the largest.
    std::vector<std::unique_ptr<DeviceBuffer>> partials_;
    DeviceBuffer launches_;
    DeviceBuffer flush_;
    std::unique_ptr<CublasLt> cublaslt_;
};

}  // namespace nestedfp::cuda
