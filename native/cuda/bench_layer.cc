#include "cuda/bench_layer.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "cuda/error.h"

namespace nestedfp::cuda {
namespace {

using kernels::Reading;

/// Not written by any kernel: behind the output, to see what goes too far.
constexpr int64_t kGuardRows = 64;

/// Both planes' poison and the format's NaN.
constexpr unsigned char kPoison = 0xff;

/// A binary16 output is at most 2^-11 off, 2.8e-4 on average; bfloat16 eight times that. Hopper adds up E4M3
/// products with about 14 bits.
constexpr double kTolerance = 1e-3;
constexpr double kBfloat16Tolerance = 4e-3;
constexpr double kFp8Tolerance = 2e-2;

/// How far one output may be off, in units of the root mean square, for each unit of the tolerance: a wrong
/// output is off by about 1.
constexpr double kLargestPerTolerance = 25;

/// Queued work starts when the host has queued all of it.
constexpr int64_t kQueueNanoseconds = 20000;
constexpr int64_t kQueueNanosecondsPerLaunch = 500;

std::string key_of(const Contender& contender, int64_t m) {
    return std::to_string(static_cast<int>(contender.precision)) + " " + contender.config + " " +
           std::to_string(m);
}

}  // namespace

BenchLayer::BenchLayer(BenchSession& session, const LayerOptions& options)
    : session_(session),
      options_(options),
      weights_(session, options),
      activations_(session, options),
      references_(session, options, weights_, activations_),
      out_(static_cast<size_t>((options.max_m + kGuardRows) * options.n) * 2),
      other_out_(static_cast<size_t>(options.max_m * options.n) * 2) {}

void BenchLayer::use_activations(int64_t m) {
    if (m == current_m_) return;
    if (m < 1 || m > options_.max_m) {
        throw CudaError("OUT_OF_RANGE",
                        "m: expected 1 to " + std::to_string(options_.max_m) + ", got " + std::to_string(m));
    }
    activations_.refill(m);
    references_.forget();
    current_m_ = m;
}

std::unique_ptr<PreparedKernel> BenchLayer::prepare(const Contender& contender, int64_t m) {
    const KernelInputs inputs{session_, options_, weights_, activations_, out_, m};
    const size_t copies = weights_.copies_of(contender.precision);
    if (const auto* library = std::get_if<LibraryKernel>(&contender.kernel)) {
        return prepare_library(inputs, *library, copies);
    }
    const auto& own = std::get<OwnKernel>(contender.kernel);
    // The baseline's words have no shift.
    const DeviceBuffer& scale =
        contender.precision == Precision::kFp16 ? weights_.ones() : weights_.word_scale();
    return prepare_own(inputs, own, copies, scale);
}

PreparedKernel& BenchLayer::prepared(const Contender& contender, int64_t m) {
    if (!options_.wants(contender.precision)) {
        throw CudaError("MISSING_WEIGHTS", "the layer has no weights for " + contender.config);
    }
    use_activations(m);
    std::unique_ptr<PreparedKernel>& slot = prepared_[key_of(contender, m)];
    if (!slot) slot = prepare(contender, m);
    return *slot;
}

uint64_t BenchLayer::words_unlike_other(int64_t m) const {
    return session_.operations()
        .result_of(kernels::CompareWordsParams{.a = out_.as<uint16_t>(),
                                               .b = other_out_.as<uint16_t>(),
                                               .count = m * options_.n,
                                               .found = nullptr})
        .count;
}

std::optional<bool> BenchLayer::has_twin_bits(const Contender& contender, int64_t m) {
    if (contender.precision != Precision::kNestedFp16) return std::nullopt;
    const auto& own = std::get<OwnKernel>(contender.kernel);
    const kernels::GemmConfig* twin = plain_twin(own);
    if (twin == nullptr) return std::nullopt;
    const KernelInputs inputs{session_, options_, weights_, activations_, other_out_, m};
    const auto plain = prepare_own(inputs, {twin, own.schedule}, 1, weights_.word_scale());
    other_out_.fill(kPoison, session_.stream());
    plain->run(0);
    return words_unlike_other(m) == 0;
}

uint64_t BenchLayer::changed_by_haste(const Contender& contender, const PreparedKernel& kernel, int64_t m) {
    // A library may add up in another order each time.
    if (!std::holds_alternative<OwnKernel>(contender.kernel)) return 0;
    other_out_.copy(out_, static_cast<size_t>(m * options_.n) * 2, session_.stream());
    kernel.run(1 % kernel.copies());
    kernel.run(0);
    return words_unlike_other(m);
}

CheckResult BenchLayer::check(const Contender& contender, int64_t m) {
    const PreparedKernel& kernel = prepared(contender, m);
    const Operations& operations = session_.operations();
    const Reading reading = kernel.out_reading();
    out_.fill(kPoison, session_.stream());
    kernel.run(0);
    session_.stream().synchronize();

    const int64_t count = m * options_.n;
    const int64_t guard = kGuardRows * options_.n;
    const auto nan = [&](int64_t first, int64_t words) {
        return operations
            .result_of(kernels::CountNanParams{
                .words = out_.as<uint16_t>() + first, .reading = reading, .count = words, .found = nullptr})
            .count;
    };
    CheckResult result{};
    result.nan = nan(0, count);
    result.overrun = static_cast<uint64_t>(guard) - nan(count, guard);

    const DeviceBuffer& expected = references_.of(reference_kind(contender), m);
    const kernels::Difference difference =
        operations.result_of(kernels::CompareReferenceParams{.out = out_.as<uint16_t>(),
                                                             .reading = reading,
                                                             .reference = expected.as<float>(),
                                                             .m = m,
                                                             .rows = LayerReferences::rows(m),
                                                             .n = options_.n,
                                                             .difference = nullptr});
    const double outputs = static_cast<double>(LayerReferences::rows(m) * options_.n);
    const double mean_square = difference.squared_reference / outputs;
    result.relative_error = std::sqrt(difference.squared_error / difference.squared_reference);
    result.largest_error =
        static_cast<double>(std::bit_cast<float>(difference.largest_error)) / std::sqrt(mean_square);
    result.bitwise = has_twin_bits(contender, m);
    result.changed = changed_by_haste(contender, kernel, m);

    const double tolerance = sums_fp8_fast(contender)        ? kFp8Tolerance
                             : reading == Reading::kBfloat16 ? kBfloat16Tolerance
                                                             : kTolerance;
    result.ok = result.nan == 0 && result.overrun == 0 && result.changed == 0 &&
                result.relative_error <= tolerance &&
                result.largest_error <= kLargestPerTolerance * tolerance && result.bitwise.value_or(true);
    return result;
}

const Graph& BenchLayer::graph_of(const std::string& key, const std::function<void()>& work) {
    std::unique_ptr<Graph>& slot = graphs_[key];
    if (!slot) {
        slot = std::make_unique<Graph>(session_.stream(), work);
        // The first replay is slower.
        slot->launch(session_.stream());
        session_.stream().synchronize();
    }
    return *slot;
}

double BenchLayer::replay(const Graph& graph, int launches, bool cold) {
    const Stream& stream = session_.stream();
    if (cold) session_.flush_cache();
    session_.operations().run(
        kernels::WaitParams{.nanoseconds = kQueueNanoseconds + kQueueNanosecondsPerLaunch * launches});
    start_.record(stream);
    graph.launch(stream);
    end_.record(stream);
    end_.synchronize();
    return end_.microseconds_since(start_) / launches;
}

double BenchLayer::time(const Contender& contender, int64_t m, int launches, bool cold) {
    const PreparedKernel& kernel = prepared(contender, m);
    const std::string key =
        key_of(contender, m) + (cold ? " cold x " : " warm x ") + std::to_string(launches);
    const Graph& graph = graph_of(key, [&] {
        for (int launch = 0; launch < launches; ++launch) {
            kernel.run(cold ? static_cast<size_t>(launch) % kernel.copies() : 0);
        }
    });
    return replay(graph, launches, cold);
}

std::optional<double> BenchLayer::time_quantiser(const Contender& contender, int64_t m, int launches) {
    if (!reads_fp8_activations(contender)) return std::nullopt;
    use_activations(m);
    const ReferenceKind kind = reference_kind(contender);
    const std::string key = key_of(contender, m) + " quantiser x " + std::to_string(launches);
    const Graph& graph = graph_of(key, [&] {
        for (int launch = 0; launch < launches; ++launch) {
            if (kind == ReferenceKind::kFp8PerTensor) {
                activations_.quantise_tensor(m);
            } else if (kind == ReferenceKind::kFp8RowWise) {
                activations_.quantise_rows(m);
            } else {
                activations_.quantise_permuted(m);
            }
        }
    });
    return replay(graph, launches, false);
}

IdentityResult BenchLayer::identity(const Contender& contender) {
    if (reads_fp8_activations(contender)) {
        throw CudaError("NOT_EXACT", contender.config + " reads E4M3 activations, which have no exact one");
    }
    const int64_t m = std::min(options_.max_m, options_.k);
    const PreparedKernel& kernel = prepared(contender, m);
    const ReferenceKind kind = reference_kind(contender);
    const DeviceBuffer& scale = kind == ReferenceKind::kUpper          ? weights_.upper_scale()
                                : kind == ReferenceKind::kShiftedWords ? weights_.word_scale()
                                                                       : weights_.ones();
    const Operations& operations = session_.operations();
    current_m_ = 0;  // the activations are the identity's from here on
    IdentityResult result{.mismatches = 0, .first = ~uint64_t{0}};
    for (int64_t first = 0; first < options_.k; first += m) {
        activations_.fill_identity(m, first);
        out_.fill(kPoison, session_.stream());
        kernel.run(0);
        kernels::Mismatch* found = operations.start_mismatch();
        operations.run(kernels::CompareIdentityParams{
            .out = out_.as<uint16_t>(),
            .words = weights_.copy(0).words.as<uint16_t>(),
            .reading = kind == ReferenceKind::kUpper ? Reading::kUpperOfHalf : Reading::kHalf,
            .scale = scale.as<float>(),
            .m = m,
            .n = options_.n,
            .k = options_.k,
            .first = first,
            .found = found});
        const kernels::Mismatch mismatch = operations.found_mismatch();
        result.mismatches += mismatch.count;
        if (mismatch.count > 0 && result.first == ~uint64_t{0}) result.first = mismatch.first;
    }
    return result;
}

}  // namespace nestedfp::cuda
