#pragma once

#include "cuda/layer_weights.h"

namespace nestedfp::cuda {

/// Random activations [m, k] and what the FP8 kernels make of them.
class LayerActivations {
   public:
    LayerActivations(BenchSession& session, const LayerOptions& options);

    /// New N(0, 1) values for m tokens, in all forms.
    void refill(int64_t m);
    /// Rows of the identity matrix from row `first` on, in binary16 alone.
    void fill_identity(int64_t m, int64_t first);

    /// E4M3 [m, padded_k] in the device's K order, a scale per token.
    void quantise_permuted(int64_t m) const;
    /// E4M3 [m, k] in natural order, a scale per token.
    void quantise_rows(int64_t m) const;
    /// E4M3 [m, k] in natural order, one scale.
    void quantise_tensor(int64_t m) const;

    const DeviceBuffer& halves() const { return halves_; }
    const DeviceBuffer& permuted() const { return permuted_; }
    const DeviceBuffer& rows() const { return rows_; }
    const DeviceBuffer& token_scales() const { return token_scales_; }
    const DeviceBuffer& tensor() const { return tensor_; }
    const DeviceBuffer& tensor_scale() const { return tensor_scale_; }

   private:
    BenchSession& session_;
    int64_t k_;
    int64_t padded_k_;
    uint64_t seed_;
    bool needs_permuted_;
    bool needs_natural_;
    DeviceBuffer halves_, permuted_, rows_, token_scales_, tensor_, tensor_maximum_, tensor_scale_;
};

}  // namespace nestedfp::cuda
