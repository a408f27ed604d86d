#pragma once

#include <functional>

#include "cuda/stream.h"

namespace nestedfp::cuda {

/// Work recorded once and launched as a whole.
class Graph {
   public:
    /// What `work` puts on the stream is recorded and does not run.
    Graph(const Stream& stream, const std::function<void()>& work);
    ~Graph();
    Graph(const Graph&) = delete;
    Graph& operator=(const Graph&) = delete;

    void launch(const Stream& stream) const;

   private:
    GraphExecHandle executable_ = nullptr;
};

}  // namespace nestedfp::cuda
