#include "cuda/graph.h"

#include "cuda/driver_api.h"
#include "cuda/error.h"

namespace nestedfp::cuda {

Graph::Graph(const Stream& stream, const std::function<void()>& work) {
    GraphHandle graph = nullptr;
    CUDA_CALL(driver().cuStreamBeginCapture(stream.handle(), kCaptureThreadLocal));
    try {
        work();
    } catch (...) {
        // Else the stream would stay in capture mode.
        driver().cuStreamEndCapture(stream.handle(), &graph);
        if (graph != nullptr) driver().cuGraphDestroy(graph);
        throw;
    }
    CUDA_CALL(driver().cuStreamEndCapture(stream.handle(), &graph));
    const Result result = driver().cuGraphInstantiateWithFlags(&executable_, graph, 0);
    driver().cuGraphDestroy(graph);
    check(result, "cuGraphInstantiateWithFlags(&executable, graph, 0)", __FILE__, __LINE__);
    // Else the first launch would do it, within a measurement.
    CUDA_CALL(driver().cuGraphUpload(executable_, stream.handle()));
}

Graph::~Graph() {
    if (executable_ != nullptr) driver().cuGraphExecDestroy(executable_);
}

void Graph::launch(const Stream& stream) const {
    CUDA_CALL(driver().cuGraphLaunch(executable_, stream.handle()));
}

}  // namespace nestedfp::cuda
