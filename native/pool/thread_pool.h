#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace nestedfp::pool {

/// A job must not throw.
using Job = std::function<void()>;

/// Worker threads that take jobs in the order of posting.
class ThreadPool {
   public:
    explicit ThreadPool(unsigned threads);
    ~ThreadPool() { stop(); }
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    /// From any thread; ignored after stop().
    void post(Job job);

    /// Drops the jobs that have not begun, waits for the others and ends the threads. Not from a job.
    void stop();

   private:
    void work();

    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Job> jobs_;
    bool stopping_ = false;
    std::vector<std::thread> threads_;
};

}  // namespace nestedfp::pool
