#pragma once

#include <map>
#include <memory>
#include <string>

#include "cuda/stream.h"

namespace nestedfp::cuda {

/// One kernel of a module.
class Kernel {
   public:
    Kernel(FunctionHandle function, std::string name) : function_(function), name_(std::move(name)) {}

    struct Launch {
        unsigned grid;
        unsigned block;
        unsigned cluster = 1;
        unsigned shared_bytes = 0;
        /// It may start before its predecessor on the stream has ended, for which it waits by itself.
        bool overlaps = false;
    };

    /// `parameters`, plain data as kernels/interface declares it, is copied by the call.
    template <typename Parameters>
    void launch(const Launch& launch, const Parameters& parameters, const Stream& stream) const {
        launch_with(launch, const_cast<Parameters*>(&parameters), stream);
    }

    const std::string& name() const { return name_; }

    /// Needed once before a launch with more than 48 KiB of shared memory.
    void allow_shared_bytes(unsigned bytes) const;

   private:
    void launch_with(const Launch& launch, void* parameters, const Stream& stream) const;

    FunctionHandle function_;
    std::string name_;
};

/// A loaded cubin.
class Module {
   public:
    /// @throws CudaError where the file is missing or is not for this device.
    explicit Module(const std::string& path);
    ~Module();
    Module(const Module&) = delete;
    Module& operator=(const Module&) = delete;

    Kernel kernel(const std::string& name) const;

   private:
    ModuleHandle handle_ = nullptr;
};

/// The cubins of one folder, each loaded at its first use.
class ModuleFolder {
   public:
    explicit ModuleFolder(std::string folder) : folder_(std::move(folder)) {}

    /// Of <folder>/<stem>.cubin.
    const Module& module(const std::string& stem);
    bool has(const std::string& stem) const;

   private:
    std::string path_of(const std::string& stem) const { return folder_ + "/" + stem + ".cubin"; }

    std::string folder_;
    std::map<std::string, std::unique_ptr<Module>> modules_;
};

}  // namespace nestedfp::cuda
