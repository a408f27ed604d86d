#include "cuda/layer_activations.h"

#include "interface/launch_plan.h"

namespace nestedfp::cuda {
namespace {

/// No value of the generator comes near.
constexpr float kNoLimit = 65504;

}  // namespace

LayerActivations::LayerActivations(BenchSession& session, const LayerOptions& options)
    : session_(session),
      k_(options.k),
      padded_k_(static_cast<int64_t>(kernels::padded_k(static_cast<uint64_t>(options.k)))),
      seed_(options.seed * 7919 + 1),
      needs_permuted_(options.wants(Precision::kNestedFp8)),
      // The reference of W8A8 reads natural order, too.
      needs_natural_(options.wants(Precision::kFp8) || options.wants(Precision::kNestedFp8)) {
    const size_t m = static_cast<size_t>(options.max_m);
    const size_t k = static_cast<size_t>(k_);
    halves_ = DeviceBuffer(2 * m * k);
    if (needs_permuted_) permuted_ = DeviceBuffer(m * static_cast<size_t>(padded_k_));
    if (needs_natural_) {
        rows_ = DeviceBuffer(m * k);
        token_scales_ = DeviceBuffer(m * sizeof(float));
        tensor_ = DeviceBuffer(m * k);
        tensor_maximum_ = DeviceBuffer(sizeof(float));
        tensor_scale_ = DeviceBuffer(sizeof(float));
    }
}

void LayerActivations::refill(int64_t m) {
    session_.operations().run(kernels::FillNormalParams{
        .out = halves_.as<uint16_t>(), .count = m * k_, .seed = seed_++, .sigma = 1, .limit = kNoLimit});
    if (needs_permuted_) quantise_permuted(m);
    if (needs_natural_) {
        quantise_rows(m);
        quantise_tensor(m);
    }
}

void LayerActivations::fill_identity(int64_t m, int64_t first) {
    session_.operations().run(
        kernels::FillIdentityParams{.x = halves_.as<uint16_t>(), .m = m, .k = k_, .first = first});
}

void LayerActivations::quantise_permuted(int64_t m) const {
    session_.operations().run(kernels::QuantiseRowsParams{.x = halves_.as<uint16_t>(),
                                                          .out = permuted_.as<uint8_t>(),
                                                          .scales = token_scales_.as<float>(),
                                                          .cols = k_,
                                                          .pitch = padded_k_,
                                                          .permuted = 1},
                              m);
}

void LayerActivations::quantise_rows(int64_t m) const {
    session_.operations().run(kernels::QuantiseRowsParams{.x = halves_.as<uint16_t>(),
                                                          .out = rows_.as<uint8_t>(),
                                                          .scales = token_scales_.as<float>(),
                                                          .cols = k_,
                                                          .pitch = k_,
                                                          .permuted = 0},
                              m);
}

void LayerActivations::quantise_tensor(int64_t m) const {
    tensor_maximum_.fill(0, session_.stream());
    session_.operations().run(kernels::AbsoluteMaximumParams{
        .x = halves_.as<uint16_t>(), .count = m * k_, .maximum = tensor_maximum_.as<uint32_t>()});
    session_.operations().run(kernels::QuantiseTensorParams{.x = halves_.as<uint16_t>(),
                                                            .out = tensor_.as<uint8_t>(),
                                                            .count = m * k_,
                                                            .maximum = tensor_maximum_.as<float>(),
                                                            .scale = tensor_scale_.as<float>()});
}

}  // namespace nestedfp::cuda
