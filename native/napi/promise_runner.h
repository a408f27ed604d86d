#pragma once

#include <napi.h>

#include <exception>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <vector>

#include "pool/serial_queue.h"
#include "pool/thread_pool.h"

namespace nestedfp::napi {

/// Makes the JS value of a finished job, on the main thread.
using Outcome = std::function<Napi::Value(Napi::Env)>;

/// Runs off the main thread and touches no JS value.
using Work = std::function<Outcome()>;

/// JS objects that stay alive until the job that uses their memory is done.
using Pins = std::vector<Napi::ObjectReference>;

/// Runs work on its own threads and settles a promise for each on the main thread. The process stays alive
/// while a promise is pending and may end when none is. All methods are for the main thread of one Env.
class PromiseRunner : public std::enable_shared_from_this<PromiseRunner> {
   public:
    static std::shared_ptr<PromiseRunner> create(Napi::Env env, unsigned threads);

    /// A std::range_error or std::length_error rejects with a RangeError, a CudaError with an Error that has
    /// `code` and `hint`, another exception with an Error. Work of one `order` runs in the order of the
    /// calls. @throws Napi::Error after close().
    Napi::Promise run(Napi::Env env, Pins pins, Work work, pool::SerialQueue* order = nullptr);

    /// Work without a promise, in turn with that of run(). It keeps no process alive, and close() may drop
    /// it.
    /// @throws Napi::Error after close().
    void post(Napi::Env env, pool::Job job);

    std::shared_ptr<pool::SerialQueue> new_order() { return std::make_shared<pool::SerialQueue>(threads_); }

    /// No more work; the threads end as soon as the pending promises are settled.
    void close();

   private:
    struct Task {
        std::list<Task>::iterator self;
        Napi::Promise::Deferred deferred;
        Pins pins;
        Work work;
        Outcome outcome = nullptr;
        std::exception_ptr error = nullptr;
    };

    PromiseRunner(Napi::Env env, unsigned threads) : env_(env), threads_(threads) {}

    void open_channel();
    void perform(Task& task);
    void settle_finished(Napi::Env env);
    static void settle(Napi::Env env, const Task& task);
    void end();

    static void on_wake(napi_env env, napi_value, void* context, void*);
    static void on_channel_closed(napi_env, void* data, void* context);
    static void on_env_teardown(void* runner);

    napi_env env_;
    pool::ThreadPool threads_;
    napi_threadsafe_function channel_ = nullptr;
    bool closing_ = false;
    bool ended_ = false;
    std::list<Task> pending_;

    std::mutex finished_mutex_;
    std::vector<Task*> finished_;
};

}  // namespace nestedfp::napi
