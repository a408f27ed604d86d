#include "cuda/stream.h"

#include "cuda/driver_api.h"
#include "cuda/error.h"

namespace nestedfp::cuda {

Stream::Stream() { CUDA_CALL(driver().cuStreamCreate(&handle_, kStreamNonBlocking)); }

Stream::~Stream() { driver().cuStreamDestroy(handle_); }

void Stream::synchronize() const { CUDA_CALL(driver().cuStreamSynchronize(handle_)); }

}  // namespace nestedfp::cuda
