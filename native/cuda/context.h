#pragma once

#include "cuda/driver_types.h"

namespace nestedfp::cuda {

/// The primary context of a device, which cuBLASLt uses too.
class PrimaryContext {
   public:
    explicit PrimaryContext(int ordinal);
    ~PrimaryContext();
    PrimaryContext(const PrimaryContext&) = delete;
    PrimaryContext& operator=(const PrimaryContext&) = delete;

    /// For the calls that this thread makes from here on.
    void make_current() const;

   private:
    DeviceOrdinal device_ = 0;
    Context context_ = nullptr;
};

}  // namespace nestedfp::cuda
