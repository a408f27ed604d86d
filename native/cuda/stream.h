#pragma once

#include "cuda/driver_types.h"

namespace nestedfp::cuda {

/// A stream that does not wait for the default one.
class Stream {
   public:
    Stream();
    ~Stream();
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

    StreamHandle handle() const { return handle_; }
    /// Reports what failed on the stream, too.
    void synchronize() const;

   private:
    StreamHandle handle_ = nullptr;
};

}  // namespace nestedfp::cuda
