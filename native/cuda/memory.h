#pragma once

#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include "cuda/stream.h"

namespace nestedfp::cuda {

/// Memory of the current context; empty when made with 0 bytes.
class DeviceBuffer {
   public:
    DeviceBuffer() = default;
    explicit DeviceBuffer(size_t bytes);
    ~DeviceBuffer() { release(); }
    DeviceBuffer(DeviceBuffer&& other) noexcept
        : pointer_(std::exchange(other.pointer_, 0)), bytes_(std::exchange(other.bytes_, 0)) {}
    DeviceBuffer& operator=(DeviceBuffer&& other) noexcept;

    size_t bytes() const { return bytes_; }
    bool empty() const { return bytes_ == 0; }
    DevicePointer address() const { return pointer_; }
    template <typename T>
    T* as() const {
        return reinterpret_cast<T*>(pointer_);
    }

    void fill(unsigned char byte, const Stream& stream) const;
    /// The host memory must stay until the stream has come this far.
    void upload(const void* from, size_t bytes, const Stream& stream) const;
    void copy(const DeviceBuffer& from, size_t bytes, const Stream& stream) const;
    /// Waits for the stream.
    void download(void* to, size_t bytes, const Stream& stream) const;

   private:
    void release() noexcept;

    DevicePointer pointer_ = 0;
    size_t bytes_ = 0;
};

template <typename T>
DeviceBuffer uploaded(std::span<const T> values, const Stream& stream) {
    DeviceBuffer buffer(values.size_bytes());
    buffer.upload(values.data(), values.size_bytes(), stream);
    stream.synchronize();
    return buffer;
}

template <typename T>
T downloaded(const DeviceBuffer& buffer, const Stream& stream) {
    T value{};
    buffer.download(&value, sizeof value, stream);
    return value;
}

/// Bytes that cuMemAlloc can still give.
size_t free_memory();

}  // namespace nestedfp::cuda
