#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace nestedfp::cpu {

/// Threads that share the work of one operation after another. The caller is one of them.
class Team {
   public:
    explicit Team(unsigned threads);
    ~Team() { stop(); }
    Team(const Team&) = delete;
    Team& operator=(const Team&) = delete;

    size_t threads() const { return workers_.size() + 1; }

    /// A piece of work: `thread` is below threads(), and no two pieces run with the same one at a time.
    using Piece = std::function<void(size_t index, size_t thread)>;

    /// Runs piece 0 .. count - 1 (count < 2^32) once each, in any order and on any thread, and returns when
    /// all are done; a worker that is not scheduled in time is not waited for. Pieces must not throw. One
    /// caller at a time.
    void run(size_t count, const Piece& piece);

   private:
    void work(size_t thread);
    void take_pieces(size_t thread);
    void stop();

    /// Count of pieces << 32 | the next one. A thread that has taken a piece keeps run() from returning, so
    /// `piece_` is that of the same call.
    std::atomic<uint64_t> ticket_ = 0;
    const Piece* piece_ = nullptr;
    std::atomic<uint32_t> done_ = 0;

    std::atomic<uint32_t> round_ = 0;
    std::atomic<bool> stopping_ = false;
    std::vector<std::thread> workers_;
};

}  // namespace nestedfp::cpu
