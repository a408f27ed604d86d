#include "cuda/layer_weights.h"

#include <algorithm>
#include <cmath>

#include "interface/launch_plan.h"

namespace nestedfp::cuda {
namespace {

/// Several times the second-level cache of any Hopper device.
constexpr size_t kRotationBytes = size_t{200} << 20;

/// A small layer stays in the cache within a graph of more launches than this, which is what a small layer
/// does.
constexpr size_t kMostCopies = 64;

/// Of the free memory, for the weights.
constexpr double kMostOfMemory = 0.6;

/// Below the limit of the format; the paper's limit.
constexpr float kLargestWeight = 1.75f;

size_t copies_for(size_t rotation_bytes, size_t bytes) {
    return std::clamp<size_t>((rotation_bytes + bytes - 1) / bytes, 1, kMostCopies);
}

}  // namespace

bool LayerOptions::wants(Precision precision) const {
    return std::find(precisions.begin(), precisions.end(), precision) != precisions.end();
}

size_t LayerWeights::copies_of(Precision precision) const {
    const bool reads_bytes = precision == Precision::kNestedFp8 || precision == Precision::kFp8;
    return reads_bytes ? copies_of_bytes_ : copies_of_halves_;
}

LayerWeights::LayerWeights(BenchSession& session, const LayerOptions& options) : options_(options) {
    const size_t count = static_cast<size_t>(options.n * options.k);
    const size_t memory = static_cast<size_t>(kMostOfMemory * static_cast<double>(free_memory()));
    const auto bytes_for = [&](size_t rotation) {
        const size_t halves = copies_for(rotation, 2 * count);
        const size_t bytes = copies_for(rotation, count);
        return count * (2 * (options.wants(Precision::kFp16) ? halves : 1) +
                        2 * (options.wants(Precision::kNestedFp16) ? halves : 0) +
                        (options.wants(Precision::kNestedFp8) ? bytes : 0) +
                        2 * (options.wants(Precision::kFp8) ? bytes : 0));
    };
    size_t rotation = kRotationBytes;
    while (rotation > count && bytes_for(rotation) > memory) rotation /= 2;
    copies_of_halves_ = copies_for(rotation, 2 * count);
    copies_of_bytes_ = copies_for(rotation, count);

    upload_scales(session);
    const bool reads_bytes = options.wants(Precision::kNestedFp8) || options.wants(Precision::kFp8);
    const size_t copies = reads_bytes ? copies_of_bytes_ : copies_of_halves_;
    copies_.resize(copies);
    const DeviceBuffer scratch(2 * count);
    for (size_t at = 0; at < copies; ++at) {
        const bool keeps_words = at == 0 || (options.wants(Precision::kFp16) && at < copies_of_halves_);
        if (keeps_words) copies_[at].words = DeviceBuffer(2 * count);
        fill(session, at, keeps_words ? copies_[at].words : scratch);
    }
    session.stream().synchronize();
}

void LayerWeights::upload_scales(BenchSession& session) {
    const size_t rows = static_cast<size_t>(options_.n);
    const std::vector<float> ones(rows, 1.0f);
    std::vector<float> of_words(rows);
    std::vector<float> of_uppers(rows);
    for (size_t n = 0; n < rows; ++n) {
        const int shift = options_.has_row_shifts ? static_cast<int>(n % 4) : 0;
        of_words[n] = std::ldexp(1.0f, shift);
        of_uppers[n] = std::ldexp(1.0f, shift - 8);
    }
    ones_ = uploaded(std::span<const float>(ones), session.stream());
    word_scale_ = uploaded(std::span<const float>(of_words), session.stream());
    upper_scale_ = uploaded(std::span<const float>(of_uppers), session.stream());
}

void LayerWeights::fill(BenchSession& session, size_t at, const DeviceBuffer& words) {
    const Operations& operations = session.operations();
    const int64_t count = options_.n * options_.k;
    if (options_.sigma == 0) {
        operations.run(kernels::FillEligibleParams{.out = words.as<uint16_t>(), .count = count});
    } else {
        operations.run(kernels::FillNormalParams{.out = words.as<uint16_t>(),
                                                 .count = count,
                                                 .seed = options_.seed * 1000003 + at,
                                                 .sigma = options_.sigma,
                                                 .limit = kLargestWeight});
    }
    WeightCopy& copy = copies_[at];
    const bool has_lower = options_.wants(Precision::kNestedFp16) && at < copies_of_halves_;
    if (has_lower || options_.wants(Precision::kNestedFp8)) {
        const int64_t padded = static_cast<int64_t>(kernels::padded_k(static_cast<uint64_t>(options_.k)));
        const size_t plane = static_cast<size_t>(options_.n * padded);
        copy.upper = DeviceBuffer(plane);
        // Both come at once; the lower plane of a copy that none reads is let go of below.
        copy.lower = DeviceBuffer(
            kernels::lower_plane_bytes(static_cast<uint64_t>(options_.n), static_cast<uint64_t>(options_.k)));
        operations.run(kernels::SplitPlanesParams{.words = words.as<uint16_t>(),
                                                  .upper = copy.upper.as<uint8_t>(),
                                                  .lower = copy.lower.as<uint8_t>(),
                                                  .n = options_.n,
                                                  .k = options_.k,
                                                  .padded_k = padded});
        if (!has_lower) {
            session.stream().synchronize();
            copy.lower = DeviceBuffer();
        }
    }
    if (!options_.wants(Precision::kFp8)) return;
    copy.fp8_rows = DeviceBuffer(static_cast<size_t>(count));
    copy.fp8_row_scales = DeviceBuffer(static_cast<size_t>(options_.n) * sizeof(float));
    operations.run(kernels::QuantiseRowsParams{.x = words.as<uint16_t>(),
                                               .out = copy.fp8_rows.as<uint8_t>(),
                                               .scales = copy.fp8_row_scales.as<float>(),
                                               .cols = options_.k,
                                               .pitch = options_.k,
                                               .permuted = 0},
                   options_.n);
    copy.fp8_tensor = DeviceBuffer(static_cast<size_t>(count));
    copy.fp8_tensor_scale = DeviceBuffer(sizeof(float));
    const DeviceBuffer maximum(sizeof(float));
    maximum.fill(0, session.stream());
    operations.run(kernels::AbsoluteMaximumParams{
        .x = words.as<uint16_t>(), .count = count, .maximum = maximum.as<uint32_t>()});
    operations.run(kernels::QuantiseTensorParams{.x = words.as<uint16_t>(),
                                                 .out = copy.fp8_tensor.as<uint8_t>(),
                                                 .count = count,
                                                 .maximum = maximum.as<float>(),
                                                 .scale = copy.fp8_tensor_scale.as<float>()});
    session.stream().synchronize();  // `maximum` ends here
}

}  // namespace nestedfp::cuda
