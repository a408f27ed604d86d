#include "cuda/device_info.h"

#include "cuda/driver_api.h"
#include "cuda/error.h"

namespace nestedfp::cuda {
namespace {

int attribute(DeviceAttribute which, DeviceOrdinal device) {
    int value = 0;
    CUDA_CALL(driver().cuDeviceGetAttribute(&value, which, device));
    return value;
}

/// Two transfers a clock; 0 where the driver does not tell, which is no reason not to use the device.
double memory_bandwidth(DeviceOrdinal device) {
    int clock_khz = 0, bus_bits = 0;
    driver().cuDeviceGetAttribute(&clock_khz, kMemoryClockRate, device);
    driver().cuDeviceGetAttribute(&bus_bits, kGlobalMemoryBusWidth, device);
    return 2 * 1e3 * clock_khz * bus_bits / 8;
}

}  // namespace

std::string driver_cuda_version() {
    int version = 0;
    CUDA_CALL(driver().cuDriverGetVersion(&version));
    return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

int device_count() {
    int count = 0;
    CUDA_CALL(driver().cuDeviceGetCount(&count));
    return count;
}

DeviceInfo device_info(int ordinal) {
    DeviceOrdinal device = 0;
    CUDA_CALL(driver().cuDeviceGet(&device, ordinal));
    char name[256] = {};
    CUDA_CALL(driver().cuDeviceGetName(name, sizeof name, device));
    char bus[64] = {};
    CUDA_CALL(driver().cuDeviceGetPCIBusId(bus, sizeof bus, device));
    size_t memory = 0;
    CUDA_CALL(driver().cuDeviceTotalMem(&memory, device));
    return {.ordinal = ordinal,
            .name = name,
            .major = attribute(kComputeCapabilityMajor, device),
            .minor = attribute(kComputeCapabilityMinor, device),
            .sm_count = attribute(kMultiprocessorCount, device),
            .memory_bytes = memory,
            .memory_bandwidth = memory_bandwidth(device),
            .l2_bytes = static_cast<size_t>(attribute(kL2CacheSize, device)),
            .shared_bytes_per_block = static_cast<size_t>(attribute(kMaxSharedMemoryPerBlockOptin, device)),
            .pci_bus_id = bus};
}

}  // namespace nestedfp::cuda
