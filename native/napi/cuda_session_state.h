#pragma once

#include <map>
#include <memory>
#include <string>

#include "cuda/bench_layer.h"
#include "cuda/bench_session.h"
#include "napi/cuda_session.h"

namespace nestedfp::napi {

/// What the session's thread works on.
struct CudaSession::State {
    State(int device, std::string folder) : ordinal(device), kernels_folder(std::move(folder)) {}
    ~State() { close(); }

    /// Opened at the first use. @throws cuda::CudaError.
    cuda::BenchSession& opened() {
        if (!session) session = std::make_unique<cuda::BenchSession>(ordinal, kernels_folder);
        session->make_current();
        return *session;
    }

    cuda::BenchLayer& layer(uint64_t id) {
        opened();
        const auto found = layers.find(id);
        if (found == layers.end())
            throw cuda::CudaError("UNKNOWN_LAYER", "layer " + std::to_string(id) + " is not there");
        return *found->second;
    }

    void close() {
        if (!session) return;
        try {
            session->make_current();
        } catch (const cuda::CudaError&) {
            // The device is lost; its memory is gone with it.
        }
        layers.clear();
        session.reset();
    }

    int ordinal;
    std::string kernels_folder;
    std::unique_ptr<cuda::BenchSession> session;
    std::map<uint64_t, std::unique_ptr<cuda::BenchLayer>> layers;
    uint64_t next_layer = 1;
};

}  // namespace nestedfp::napi
