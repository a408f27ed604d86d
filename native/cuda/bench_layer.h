#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "cuda/contender.h"
#include "cuda/event.h"
#include "cuda/graph.h"
#include "cuda/layer_activations.h"
#include "cuda/layer_references.h"
#include "cuda/layer_weights.h"
#include "cuda/prepared_kernel.h"

namespace nestedfp::cuda {

struct CheckResult {
    bool ok;
    /// ||out - reference|| / ||reference|| over the rows that the reference was computed for.
    double relative_error;
    /// Of one output, in units of the reference's root mean square.
    double largest_error;
    /// NaN in the output, which was poisoned with it.
    uint64_t nan;
    /// Words changed behind the last row.
    uint64_t overrun;
    /// Words that a launch gave otherwise which began while one on other weights was still at work; of own
    /// kernels alone, whose results do not depend on timing.
    uint64_t changed;
    /// Nested FP16: whether the same kernel on plain words gives the same bits; empty where no row of the
    /// table adds up in the same order.
    std::optional<bool> bitwise;
};

struct IdentityResult {
    uint64_t mismatches;
    /// Row-major index into [rows of a slice, n]; all ones where nothing differs.
    uint64_t first;
};

/// One shape [n, k] with random weights, and the kernels on it.
class BenchLayer {
   public:
    BenchLayer(BenchSession& session, const LayerOptions& options);

    /// Poisons the output, runs and compares with a reference in FP64, of all rows or of 512 spread evenly;
    /// then runs twice with no pause between and compares all words with those of the first launch.
    CheckResult check(const Contender& contender, int64_t m);

    /// Microseconds of one launch among `launches` back to back, between events around a graph of them.
    /// @param cold each launch reads another copy of the weights, and the caches are flushed before the
    /// first.
    double time(const Contender& contender, int64_t m, int launches, bool cold);

    /// The same of making the activations that the contender reads; empty where it reads binary16.
    std::optional<double> time_quantiser(const Contender& contender, int64_t m, int launches);

    /// X = I must give the weights back bit for bit, in slices of at most `max_m` rows.
    /// @throws CudaError where the contender's activations are not binary16.
    IdentityResult identity(const Contender& contender);

    std::string description(const Contender& contender, int64_t m) {
        return prepared(contender, m).description();
    }

   private:
    void use_activations(int64_t m);
    PreparedKernel& prepared(const Contender& contender, int64_t m);
    std::unique_ptr<PreparedKernel> prepare(const Contender& contender, int64_t m);
    uint64_t words_unlike_other(int64_t m) const;
    std::optional<bool> has_twin_bits(const Contender& contender, int64_t m);
    uint64_t changed_by_haste(const Contender& contender, const PreparedKernel& kernel, int64_t m);
    double replay(const Graph& graph, int launches, bool cold);
    const Graph& graph_of(const std::string& key, const std::function<void()>& work);

    BenchSession& session_;
    LayerOptions options_;
    LayerWeights weights_;
    LayerActivations activations_;
    LayerReferences references_;
    DeviceBuffer out_;
    /// What another kernel, or another launch, made of the same.
    DeviceBuffer other_out_;
    Event start_, end_;
    /// Whose activations are there; 0 when none are.
    int64_t current_m_ = 0;
    std::map<std::string, std::unique_ptr<PreparedKernel>> prepared_;
    std::map<std::string, std::unique_ptr<Graph>> graphs_;
};

}  // namespace nestedfp::cuda
