#include "pool/serial_queue.h"

#include <utility>

namespace nestedfp::pool {

void SerialQueue::post(Job job) {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
    if (jobs_.size() == 1) pool_.post([self = shared_from_this()] { self->run_first(); });
}

void SerialQueue::run_first() {
    Job job;
    {
        const std::lock_guard lock(mutex_);
        job = std::move(jobs_.front());
    }
    job();
    const std::lock_guard lock(mutex_);
    jobs_.pop_front();
    // Behind the other jobs of the pool, so that a long chain does not keep them waiting.
    if (!jobs_.empty()) pool_.post([self = shared_from_this()] { self->run_first(); });
}

}  // namespace nestedfp::pool
