#include "cuda/layer_references.h"

#include <algorithm>

namespace nestedfp::cuda {
namespace {

using kernels::Reading;
using kernels::Weights;

/// An output of the reference costs a sum in FP64.
constexpr int64_t kMostRows = 512;

}  // namespace

ReferenceKind reference_kind(const Contender& contender) {
    if (const auto* own = std::get_if<OwnKernel>(&contender.kernel)) {
        switch (own->config->weights) {
            case Weights::kPlain16:
                return ReferenceKind::kWords;
            case Weights::kNested16:
                return ReferenceKind::kShiftedWords;
            case Weights::kW8A16:
                return ReferenceKind::kUpper;
            case Weights::kW8A8:
            case Weights::kW8A8F32:
            case Weights::kA8W8:
                return ReferenceKind::kUpperTimesFp8;
        }
    }
    switch (std::get<LibraryKernel>(contender.kernel).kind) {
        case MatmulKind::kFp16:
            return ReferenceKind::kWords;
        case MatmulKind::kFp8PerTensor:
            return ReferenceKind::kFp8PerTensor;
        case MatmulKind::kFp8RowWise:
            return ReferenceKind::kFp8RowWise;
        case MatmulKind::kUpperPlane:
            return ReferenceKind::kUpperTimesFp8;
    }
    return ReferenceKind::kWords;
}

LayerReferences::LayerReferences(BenchSession& session, const LayerOptions& options,
                                 const LayerWeights& weights, const LayerActivations& activations)
    : session_(session), weights_(weights), activations_(activations), n_(options.n), k_(options.k) {}

int64_t LayerReferences::rows(int64_t m) { return std::min(m, kMostRows); }

const DeviceBuffer& LayerReferences::of(ReferenceKind kind, int64_t m) {
    DeviceBuffer& slot = references_[kind];
    if (!slot.empty()) return slot;
    const int64_t rows = LayerReferences::rows(m);
    DeviceBuffer result(static_cast<size_t>(rows * n_) * sizeof(float));
    const WeightCopy& copy = weights_.copy(0);
    kernels::ReferenceGemmParams p{.x = activations_.halves().as<void>(),
                                   .w = copy.words.as<void>(),
                                   .x_reading = Reading::kHalf,
                                   .w_reading = Reading::kHalf,
                                   .x_scale = nullptr,
                                   .w_scale = nullptr,
                                   .x_scale_stride = 1,
                                   .w_scale_stride = 1,
                                   .out = result.as<float>(),
                                   .m = m,
                                   .rows = rows,
                                   .n = n_,
                                   .k = k_};
    if (kind == ReferenceKind::kShiftedWords) p.w_scale = weights_.word_scale().as<float>();
    if (kind == ReferenceKind::kUpper || kind == ReferenceKind::kUpperTimesFp8) {
        p.w_reading = Reading::kUpperOfHalf;
        p.w_scale = weights_.upper_scale().as<float>();
    }
    if (kind == ReferenceKind::kUpperTimesFp8 || kind == ReferenceKind::kFp8RowWise) {
        p.x = activations_.rows().as<void>();
        p.x_reading = Reading::kE4m3;
        p.x_scale = activations_.token_scales().as<float>();
    }
    if (kind == ReferenceKind::kFp8RowWise) {
        p.w = copy.fp8_rows.as<void>();
        p.w_reading = Reading::kE4m3;
        p.w_scale = copy.fp8_row_scales.as<float>();
    }
    if (kind == ReferenceKind::kFp8PerTensor) {
        p.x = activations_.tensor().as<void>();
        p.w = copy.fp8_tensor.as<void>();
        p.x_reading = p.w_reading = Reading::kE4m3;
        p.x_scale = activations_.tensor_scale().as<float>();
        p.w_scale = copy.fp8_tensor_scale.as<float>();
        p.x_scale_stride = p.w_scale_stride = 0;
    }
    session_.operations().run(p);
    slot = std::move(result);
    return slot;
}

}  // namespace nestedfp::cuda
