#pragma once

#include <map>

#include "cuda/contender.h"
#include "cuda/layer_activations.h"
#include "cuda/layer_weights.h"

namespace nestedfp::cuda {

/// Which operands a contender's result stands for.
enum class ReferenceKind { kWords, kShiftedWords, kUpper, kUpperTimesFp8, kFp8PerTensor, kFp8RowWise };

ReferenceKind reference_kind(const Contender& contender);

/// What a layer's products are, added up in FP64 from the operands that a contender reads; each computed
/// once.
class LayerReferences {
   public:
    LayerReferences(BenchSession& session, const LayerOptions& options, const LayerWeights& weights,
                    const LayerActivations& activations);

    /// Of m tokens: all, or 512 spread evenly.
    static int64_t rows(int64_t m);

    /// FP32 [rows(m), n], of the first copy of the weights and the activations that are there.
    const DeviceBuffer& of(ReferenceKind kind, int64_t m);

    /// To be called when the activations change.
    void forget() { references_.clear(); }

   private:
    BenchSession& session_;
    const LayerWeights& weights_;
    const LayerActivations& activations_;
    int64_t n_;
    int64_t k_;
    std::map<ReferenceKind, DeviceBuffer> references_;
};

}  // namespace nestedfp::cuda
