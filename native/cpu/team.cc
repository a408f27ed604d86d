#include "cpu/team.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace nestedfp::cpu {
namespace {

/// Some microseconds: longer than the gap between two operations of a small model, too short to matter to
/// others who want the core.
constexpr int kSpins = 100;

void pause() {
#if defined(__x86_64__)
    _mm_pause();
#endif
}

/// Returns when `value` is no longer `old`.
void wait_for_change(const std::atomic<uint32_t>& value, uint32_t old) {
    for (int n = 0; n < kSpins; ++n) {
        if (value.load(std::memory_order_acquire) != old) return;
        pause();
    }
    value.wait(old, std::memory_order_acquire);
}

}  // namespace

Team::Team(unsigned threads) {
    try {
        for (size_t n = 1; n < threads; ++n) workers_.emplace_back([this, n] { work(n); });
    } catch (...) {  // no more threads to be had: those that did start must end before their team does
        stop();
        throw;
    }
}

void Team::stop() {
    stopping_ = true;
    round_.fetch_add(1, std::memory_order_release);
    round_.notify_all();
    for (std::thread& worker : workers_) worker.join();
    workers_.clear();
}

void Team::run(size_t count, const Piece& piece) {
    if (count <= 1 || workers_.empty()) {
        for (size_t index = 0; index < count; ++index) piece(index, 0);
        return;
    }
    piece_ = &piece;
    done_.store(0, std::memory_order_relaxed);
    ticket_.store(static_cast<uint64_t>(count) << 32, std::memory_order_release);
    round_.fetch_add(1, std::memory_order_release);
    round_.notify_all();
    take_pieces(0);
    for (;;) {
        const uint32_t done = done_.load(std::memory_order_acquire);
        if (done == count) return;
        wait_for_change(done_, done);
    }
}

void Team::work(size_t thread) {
    uint32_t seen = 0;
    for (;;) {
        wait_for_change(round_, seen);
        if (stopping_) return;
        seen = round_.load(std::memory_order_acquire);
        take_pieces(thread);
    }
}

void Team::take_pieces(size_t thread) {
    for (;;) {
        uint64_t ticket = ticket_.load(std::memory_order_acquire);
        const auto count = static_cast<uint32_t>(ticket >> 32);
        const auto index = static_cast<uint32_t>(ticket);
        if (index >= count) return;
        if (!ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel)) continue;
        (*piece_)(index, thread);
        done_.fetch_add(1, std::memory_order_acq_rel);
        done_.notify_one();
    }
}

}  // namespace nestedfp::cpu
