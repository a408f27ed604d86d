#include "napi/promise_runner.h"

#include <iterator>
#include <stdexcept>
#include <utility>

#include "cuda/error.h"

namespace nestedfp::napi {
namespace {

void check(napi_env env, napi_status status) {
    if (status != napi_ok) throw Napi::Error::New(env);
}

Napi::Value to_js_error(Napi::Env env, const std::exception_ptr& error) {
    try {
        std::rethrow_exception(error);
    } catch (const cuda::CudaError& e) {
        Napi::Error failure = Napi::Error::New(env, e.what());
        failure.Set("code", Napi::String::New(env, e.code()));
        if (!e.hint().empty()) failure.Set("hint", Napi::String::New(env, e.hint()));
        return failure.Value();
    } catch (const std::range_error& e) {
        return Napi::RangeError::New(env, e.what()).Value();
    } catch (const std::length_error& e) {
        return Napi::RangeError::New(env, e.what()).Value();
    } catch (const std::exception& e) {
        return Napi::Error::New(env, e.what()).Value();
    } catch (...) {
        return Napi::Error::New(env, "a job failed with something that is no std::exception").Value();
    }
}

}  // namespace

std::shared_ptr<PromiseRunner> PromiseRunner::create(Napi::Env env, unsigned threads) {
    const std::shared_ptr<PromiseRunner> runner(new PromiseRunner(env, threads));
    runner->open_channel();
    return runner;
}

void PromiseRunner::open_channel() {
    // The channel keeps the runner until no wake-up can arrive any more.
    auto keep_alive = std::make_unique<std::shared_ptr<PromiseRunner>>(shared_from_this());
    const Napi::String name = Napi::String::New(env_, "nestedfp");
    check(env_, napi_create_threadsafe_function(env_, nullptr, nullptr, name, 0, 1, keep_alive.get(),
                                                on_channel_closed, this, on_wake, &channel_));
    keep_alive.release();
    check(env_, napi_unref_threadsafe_function(env_, channel_));
    // Hooks run last in, first out: this one before the channel's own.
    check(env_, napi_add_env_cleanup_hook(env_, on_env_teardown, this));
}

Napi::Promise PromiseRunner::run(Napi::Env env, Pins pins, Work work, pool::SerialQueue* order) {
    if (closing_) throw Napi::Error::New(env, "the pool is closed");
    if (pending_.empty()) check(env, napi_ref_threadsafe_function(env, channel_));
    Task& task =
        pending_.emplace_back(Task{{}, Napi::Promise::Deferred::New(env), std::move(pins), std::move(work)});
    task.self = std::prev(pending_.end());
    auto job = [this, &task] { perform(task); };
    if (order != nullptr) {
        order->post(job);
    } else {
        threads_.post(job);
    }
    return task.deferred.Promise();
}

void PromiseRunner::post(Napi::Env env, pool::Job job) {
    if (closing_) throw Napi::Error::New(env, "the pool is closed");
    threads_.post(std::move(job));
}

void PromiseRunner::perform(Task& task) {
    try {
        task.outcome = task.work();
    } catch (...) {
        task.error = std::current_exception();
    }
    bool wake = false;
    {
        const std::lock_guard lock(finished_mutex_);
        wake = finished_.empty();
        finished_.push_back(&task);
    }
    // One wake-up serves all that finish before it is heard.
    if (wake) napi_call_threadsafe_function(channel_, nullptr, napi_tsfn_nonblocking);
}

void PromiseRunner::on_wake(napi_env env, napi_value, void* context, void*) {
    if (env != nullptr) static_cast<PromiseRunner*>(context)->settle_finished(env);
}

void PromiseRunner::settle_finished(Napi::Env env) {
    std::vector<Task*> finished;
    {
        const std::lock_guard lock(finished_mutex_);
        finished.swap(finished_);
    }
    for (const Task* task : finished) {
        settle(env, *task);
        pending_.erase(task->self);
    }
    if (!pending_.empty() || ended_) return;
    if (closing_) {
        end();
    } else {
        check(env, napi_unref_threadsafe_function(env, channel_));
    }
}

void PromiseRunner::settle(Napi::Env env, const Task& task) {
    try {
        if (task.error) {
            task.deferred.Reject(to_js_error(env, task.error));
        } else {
            task.deferred.Resolve(task.outcome(env));
        }
    } catch (const Napi::Error& error) {  // JS cannot run: the environment is being terminated
        error.ThrowAsJavaScriptException();
    }
}

void PromiseRunner::close() {
    closing_ = true;
    if (pending_.empty()) end();
}

void PromiseRunner::end() {
    if (ended_) return;
    ended_ = true;
    closing_ = true;
    threads_.stop();
    pending_.clear();
    napi_remove_env_cleanup_hook(env_, on_env_teardown, this);
    napi_release_threadsafe_function(channel_, napi_tsfn_release);
}

void PromiseRunner::on_env_teardown(void* runner) {
    // Jobs still write into the memory of typed arrays, which dies with the environment: wait for them.
    static_cast<PromiseRunner*>(runner)->end();
}

void PromiseRunner::on_channel_closed(napi_env, void* data, void*) {
    delete static_cast<std::shared_ptr<PromiseRunner>*>(data);
}

}  // namespace nestedfp::napi
