#include "cuda/memory.h"

#include <string>

#include "cuda/driver_api.h"
#include "cuda/error.h"

namespace nestedfp::cuda {

DeviceBuffer::DeviceBuffer(size_t bytes) : bytes_(bytes) {
    if (bytes == 0) return;
    const std::string call = "cuMemAlloc(&pointer, " + std::to_string(bytes) + ")";
    check(driver().cuMemAlloc(&pointer_, bytes), call.c_str(), __FILE__, __LINE__);
}

DeviceBuffer& DeviceBuffer::operator=(DeviceBuffer&& other) noexcept {
    if (this != &other) {
        release();
        pointer_ = std::exchange(other.pointer_, 0);
        bytes_ = std::exchange(other.bytes_, 0);
    }
    return *this;
}

void DeviceBuffer::release() noexcept {
    if (pointer_ != 0) driver().cuMemFree(pointer_);
}

void DeviceBuffer::fill(unsigned char byte, const Stream& stream) const {
    if (empty()) return;
    CUDA_CALL(driver().cuMemsetD8Async(pointer_, byte, bytes_, stream.handle()));
}

void DeviceBuffer::upload(const void* from, size_t bytes, const Stream& stream) const {
    if (bytes == 0) return;
    CUDA_CALL(driver().cuMemcpyHtoDAsync(pointer_, from, bytes, stream.handle()));
}

void DeviceBuffer::copy(const DeviceBuffer& from, size_t bytes, const Stream& stream) const {
    if (bytes == 0) return;
    CUDA_CALL(driver().cuMemcpyDtoDAsync(pointer_, from.pointer_, bytes, stream.handle()));
}

void DeviceBuffer::download(void* to, size_t bytes, const Stream& stream) const {
    if (bytes == 0) return;
    CUDA_CALL(driver().cuMemcpyDtoHAsync(to, pointer_, bytes, stream.handle()));
    stream.synchronize();
}

size_t free_memory() {
    size_t free = 0;
    size_t total = 0;
    CUDA_CALL(driver().cuMemGetInfo(&free, &total));
    return free;
}

}  // namespace nestedfp::cuda
