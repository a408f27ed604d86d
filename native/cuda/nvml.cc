#include "cuda/nvml.h"

#include "cuda/error.h"
#include "cuda/nvml_types.h"

namespace nestedfp::cuda {
namespace {

struct ReasonName {
    unsigned long long bit;
    const char* name;
};

constexpr ReasonName kReasonNames[] = {
    {kNvmlReasonSwPowerCap, "sw_power_cap"},
    {kNvmlReasonHwSlowdown, "hw_slowdown"},
    {kNvmlReasonSyncBoost, "sync_boost"},
    {kNvmlReasonSwThermalSlowdown, "sw_thermal_slowdown"},
    {kNvmlReasonHwThermalSlowdown, "hw_thermal_slowdown"},
    {kNvmlReasonHwPowerBrakeSlowdown, "hw_power_brake_slowdown"},
};

template <typename Function>
Function* function(const Library& library, const char* name) {
    return reinterpret_cast<Function*>(library.symbol(name));
}

}  // namespace

std::vector<std::string> throttle_reason_names(unsigned long long bits) {
    std::vector<std::string> names;
    for (const ReasonName& reason : kReasonNames) {
        if (bits & reason.bit) names.emplace_back(reason.name);
    }
    return names;
}

Nvml::Nvml()
    : library_(
          Library::open("NVML (libnvidia-ml.so.1)", {"libnvidia-ml.so.1"},
                        "it comes with the NVIDIA driver; clocks and power are not recorded without it")) {
    check(function<int()>(library_, "nvmlInit_v2")(), "nvmlInit_v2()");
    shutdown_ = function<int()>(library_, "nvmlShutdown");
}

Nvml::~Nvml() { shutdown_(); }

void Nvml::check(int result, const std::string& call) const {
    if (result == kNvmlSuccess) return;
    auto* text = function<const char*(int)>(library_, "nvmlErrorString");
    throw CudaError("NVML_ERROR_" + std::to_string(result), call + " failed, NVML: " + text(result));
}

std::string Nvml::text_of(const char* function_name) const {
    char text[96] = {};
    check(function<int(char*, unsigned)>(library_, function_name)(text, sizeof text),
          std::string(function_name) + "()");
    return text;
}

std::string Nvml::driver_version() const { return text_of("nvmlSystemGetDriverVersion"); }

std::string Nvml::version() const { return text_of("nvmlSystemGetNVMLVersion"); }

Nvml::Device Nvml::device(const std::string& pci_bus_id) const {
    Device device = nullptr;
    check(function<int(const char*, Device*)>(library_, "nvmlDeviceGetHandleByPciBusId_v2")(
              pci_bus_id.c_str(), &device),
          "nvmlDeviceGetHandleByPciBusId_v2(" + pci_bus_id + ")");
    return device;
}

DeviceState Nvml::state(Device device) const {
    using GetUnsigned = int(Device, unsigned*);
    using GetUnsignedOf = int(Device, int, unsigned*);
    auto* clock = function<GetUnsignedOf>(library_, "nvmlDeviceGetClockInfo");
    DeviceState state;
    unsigned value = 0;
    if (clock(device, kNvmlClockSm, &value) == kNvmlSuccess) state.sm_clock_mhz = value;
    if (clock(device, kNvmlClockMem, &value) == kNvmlSuccess) state.memory_clock_mhz = value;
    auto* power = function<GetUnsigned>(library_, "nvmlDeviceGetPowerUsage");
    if (power(device, &value) == kNvmlSuccess) state.power_w = value / 1000.0;
    auto* temperature = function<GetUnsignedOf>(library_, "nvmlDeviceGetTemperature");
    if (temperature(device, kNvmlTemperatureGpu, &value) == kNvmlSuccess) state.temperature_c = value;
    unsigned long long reasons = 0;
    auto* throttle = function<int(Device, unsigned long long*)>(
        library_, library_.find("nvmlDeviceGetCurrentClocksEventReasons") != nullptr
                      ? "nvmlDeviceGetCurrentClocksEventReasons"
                      : "nvmlDeviceGetCurrentClocksThrottleReasons");
    if (throttle(device, &reasons) == kNvmlSuccess) state.throttle_reasons = throttle_reason_names(reasons);
    return state;
}

}  // namespace nestedfp::cuda
