#pragma once

#include <memory>
#include <string>
#include <vector>

#include "cuda/layer_activations.h"
#include "cuda/layer_weights.h"

namespace nestedfp::cuda {

/// A contender with everything that depends on m already done.
class PreparedKernel {
   public:
    virtual ~PreparedKernel() = default;

    /// On one copy of the weights.
    virtual void run(size_t copy) const = 0;
    virtual size_t copies() const = 0;
    /// How the output's words are to be read.
    virtual kernels::Reading out_reading() const = 0;
    /// What runs, for people.
    virtual std::string description() const = 0;
};

/// What a kernel works on.
struct KernelInputs {
    BenchSession& session;
    const LayerOptions& options;
    const LayerWeights& weights;
    const LayerActivations& activations;
    /// Binary16 [m, n].
    const DeviceBuffer& out;
    int64_t m;
};

/// @param word_scale what kernels on words multiply a row's output by: all ones, or 2^shift.
std::unique_ptr<PreparedKernel> prepare_own(const KernelInputs& inputs, const OwnKernel& kernel,
                                            size_t copies, const DeviceBuffer& word_scale);

/// Measures which algorithm is best, and so overwrites the output.
std::unique_ptr<PreparedKernel> prepare_library(const KernelInputs& inputs, const LibraryKernel& library,
                                                size_t copies);

}  // namespace nestedfp::cuda
