#pragma once

#include "cuda/stream.h"

namespace nestedfp::cuda {

/// A point in a stream whose time the device notes.
class Event {
   public:
    Event();
    ~Event();
    Event(const Event&) = delete;
    Event& operator=(const Event&) = delete;

    void record(const Stream& stream);
    void synchronize() const;
    /// Both must have happened.
    double microseconds_since(const Event& start) const;

   private:
    EventHandle handle_ = nullptr;
};

}  // namespace nestedfp::cuda
