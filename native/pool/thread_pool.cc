#include "pool/thread_pool.h"

#include <utility>

namespace nestedfp::pool {

ThreadPool::ThreadPool(unsigned threads) {
    try {
        for (unsigned n = 0; n < threads; ++n) threads_.emplace_back([this] { work(); });
    } catch (...) {  // no more threads to be had: those that did start must end before their pool does
        stop();
        throw;
    }
}

void ThreadPool::post(Job job) {
    {
        const std::lock_guard lock(mutex_);
        if (stopping_) return;
        jobs_.push_back(std::move(job));
    }
    changed_.notify_one();
}

void ThreadPool::stop() {
    std::deque<Job> dropped;
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
        dropped.swap(jobs_);
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
}

void ThreadPool::work() {
    for (;;) {
        Job job;
        {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
            if (stopping_) return;
            job = std::move(jobs_.front());
            jobs_.pop_front();
        }
        job();
    }
}

}  // namespace nestedfp::pool
