#pragma once

#include <deque>
#include <memory>
#include <mutex>

#include "pool/thread_pool.h"

namespace nestedfp::pool {

/// Runs its jobs one after another on a pool, without holding a thread while it waits: each job posts the
/// next.
class SerialQueue : public std::enable_shared_from_this<SerialQueue> {
   public:
    /// The pool must outlive every job.
    explicit SerialQueue(ThreadPool& pool) : pool_(pool) {}

    /// From any thread.
    void post(Job job);

   private:
    void run_first();

    ThreadPool& pool_;
    std::mutex mutex_;
    std::deque<Job> jobs_;  // the first one is posted or running
};

}  // namespace nestedfp::pool
