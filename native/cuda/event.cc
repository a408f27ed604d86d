#include "cuda/event.h"

#include "cuda/driver_api.h"
#include "cuda/error.h"

namespace nestedfp::cuda {

Event::Event() { CUDA_CALL(driver().cuEventCreate(&handle_, kEventDefault)); }

Event::~Event() { driver().cuEventDestroy(handle_); }

void Event::record(const Stream& stream) { CUDA_CALL(driver().cuEventRecord(handle_, stream.handle())); }

void Event::synchronize() const { CUDA_CALL(driver().cuEventSynchronize(handle_)); }

double Event::microseconds_since(const Event& start) const {
    float milliseconds = 0;
    CUDA_CALL(driver().cuEventElapsedTime(&milliseconds, start.handle_, handle_));
    return 1000.0 * milliseconds;
}

}  // namespace nestedfp::cuda
