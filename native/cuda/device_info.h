#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "cuda/driver_types.h"

namespace nestedfp::cuda {

struct DeviceInfo {
    int ordinal;
    std::string name;
    int major;
    int minor;
    int sm_count;
    size_t memory_bytes;
    /// Bytes per second that the memory's clock and width give; 0 where the driver does not tell.
    double memory_bandwidth;
    size_t l2_bytes;
    size_t shared_bytes_per_block;
    /// "00000000:01:00.0", by which NVML knows the device.
    std::string pci_bus_id;
};

/// What the driver supports, such as "13.0". @throws CudaError, and so all here.
std::string driver_cuda_version();

int device_count();

DeviceInfo device_info(int ordinal);

}  // namespace nestedfp::cuda
