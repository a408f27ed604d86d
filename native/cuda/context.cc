#include "cuda/context.h"

#include "cuda/driver_api.h"
#include "cuda/error.h"

namespace nestedfp::cuda {

PrimaryContext::PrimaryContext(int ordinal) {
    CUDA_CALL(driver().cuDeviceGet(&device_, ordinal));
    CUDA_CALL(driver().cuDevicePrimaryCtxRetain(&context_, device_));
}

PrimaryContext::~PrimaryContext() { driver().cuDevicePrimaryCtxRelease(device_); }

void PrimaryContext::make_current() const { CUDA_CALL(driver().cuCtxSetCurrent(context_)); }

}  // namespace nestedfp::cuda
