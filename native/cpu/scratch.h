#pragma once

#include <cstddef>
#include <memory>
#include <new>
#include <vector>

namespace nestedfp::cpu {

/// Memory that an operation needs while it runs, kept for the next one; a cache line's alignment.
class FloatBuffer {
   public:
    /// The first `count` values, not initialised. @throws std::bad_alloc
    float* at_least(size_t count) {
        if (count > size_) {
            values_.reset();
            size_ = 0;
            values_.reset(static_cast<float*>(::operator new(count * sizeof(float), kAlignment)));
            size_ = count;
        }
        return values_.get();
    }

   private:
    static constexpr std::align_val_t kAlignment{64};
    struct Free {
        void operator()(float* values) const { ::operator delete(values, kAlignment); }
    };
    std::unique_ptr<float, Free> values_;
    size_t size_ = 0;
};

}  // namespace nestedfp::cpu
