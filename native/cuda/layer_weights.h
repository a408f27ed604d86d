#pragma once

#include <cstdint>
#include <vector>

#include "cuda/bench_session.h"
#include "cuda/contender.h"

namespace nestedfp::cuda {

struct LayerOptions {
    /// Multiples of 16.
    int64_t n;
    int64_t k;
    int64_t max_m;
    uint64_t seed;
    std::vector<Precision> precisions;
    /// Of the weights' normal distribution, which is cut at +-1.75; 0 for every eligible word in turn.
    float sigma = 0.02f;
    /// Whether rows have shifts 0 to 3 in turn rather than none.
    bool has_row_shifts = false;

    bool wants(Precision precision) const;
};

/// One set of random weights in the forms that the kernels read; empty where none needs it.
struct WeightCopy {
    DeviceBuffer words;  // [n, k]
    DeviceBuffer upper;  // [n, padded_k]
    DeviceBuffer lower;  // in tiles: kernels/interface/planes.h
    DeviceBuffer fp8_rows;
    DeviceBuffer fp8_row_scales;
    DeviceBuffer fp8_tensor;
    DeviceBuffer fp8_tensor_scale;
};

/// Enough copies that reading them in turn defeats the caches.
class LayerWeights {
   public:
    LayerWeights(BenchSession& session, const LayerOptions& options);

    /// Number 0 has words whatever the precisions.
    const WeightCopy& copy(size_t at) const { return copies_[at]; }
    /// How many copies have what this precision reads.
    size_t copies_of(Precision precision) const;

    /// FP32 [n]: 1; 2^shift; 2^(shift - 8).
    const DeviceBuffer& ones() const { return ones_; }
    const DeviceBuffer& word_scale() const { return word_scale_; }
    const DeviceBuffer& upper_scale() const { return upper_scale_; }

   private:
    void upload_scales(BenchSession& session);
    void fill(BenchSession& session, size_t at, const DeviceBuffer& words);

    LayerOptions options_;
    size_t copies_of_halves_ = 1;
    size_t copies_of_bytes_ = 1;
    std::vector<WeightCopy> copies_;
    DeviceBuffer ones_, word_scale_, upper_scale_;
};

}  // namespace nestedfp::cuda
