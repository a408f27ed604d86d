#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cuda/library.h"

namespace nestedfp::cuda {

/// Read from the device at one moment; what the driver does not tell is empty.
struct DeviceState {
    std::optional<unsigned> sm_clock_mhz;
    std::optional<unsigned> memory_clock_mhz;
    std::optional<double> power_w;
    std::optional<unsigned> temperature_c;
    /// "sw_power_cap", "hw_slowdown", ...; idle and the user's own clock settings are none.
    std::vector<std::string> throttle_reasons;
};

/// The names of the bits that lower clocks against the user's will.
std::vector<std::string> throttle_reason_names(unsigned long long bits);

/// The management library of the driver.
class Nvml {
   public:
    /// @throws CudaError where the library is missing or does not start.
    Nvml();
    ~Nvml();
    Nvml(const Nvml&) = delete;
    Nvml& operator=(const Nvml&) = delete;

    /// Such as "580.159.04".
    std::string driver_version() const;

    /// Of NVML itself, such as "13.580.159.04".
    std::string version() const;

    using Device = struct NvmlDeviceTag*;
    Device device(const std::string& pci_bus_id) const;
    DeviceState state(Device device) const;

   private:
    void check(int result, const std::string& call) const;
    /// What a function that fills a text of at most 96 bytes says.
    std::string text_of(const char* function_name) const;

    Library library_;
    int (*shutdown_)() = nullptr;
};

}  // namespace nestedfp::cuda
