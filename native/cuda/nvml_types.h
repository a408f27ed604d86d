// The part of nvml.h that is used here, declared anew; compared with the real header like driver_types.h.
#pragma once

namespace nestedfp::cuda {

constexpr int kNvmlSuccess = 0;
constexpr int kNvmlClockSm = 1;
constexpr int kNvmlClockMem = 2;
constexpr int kNvmlTemperatureGpu = 0;

constexpr unsigned long long kNvmlReasonSwPowerCap = 0x4;
constexpr unsigned long long kNvmlReasonHwSlowdown = 0x8;
constexpr unsigned long long kNvmlReasonSyncBoost = 0x10;
constexpr unsigned long long kNvmlReasonSwThermalSlowdown = 0x20;
constexpr unsigned long long kNvmlReasonHwThermalSlowdown = 0x40;
constexpr unsigned long long kNvmlReasonHwPowerBrakeSlowdown = 0x80;

}  // namespace nestedfp::cuda
