#include "cuda/matmul.h"

#include <algorithm>
#include <limits>
#include <memory>

#include "cuda/error.h"
#include "cuda/event.h"
#include "cuda/graph.h"

namespace nestedfp::cuda {
namespace {

constexpr int kCandidates = 16;

constexpr double kNever = std::numeric_limits<double>::infinity();

/// A candidate that is slower than this times the best in the first round is not timed again,
constexpr double kHopeless = 1.15;
/// unless both are so short that the first round measured the launching thread.
constexpr double kLaunchBoundMicroseconds = 60;

/// Of the second round.
constexpr double kRoundMicroseconds = 400;
constexpr int kMostRuns = 20;
constexpr int kRounds = 3;

template <typename T>
void set(const CublasLt& lt, MatmulDescription description, MatmulAttribute attribute, const T& value) {
    CUBLASLT_CALL(lt, MatmulDescSetAttribute(description, attribute, &value, sizeof value));
}

bool has_scale_vectors(MatmulKind kind) {
    return kind == MatmulKind::kFp8RowWise || kind == MatmulKind::kUpperPlane;
}

int attribute_of(const CublasLt& lt, const MatmulAlgorithm& algorithm, AlgorithmAttribute attribute) {
    uint32_t value = 0;
    size_t written = 0;
    // The cluster shape is 16 bits wide; unwritten bytes stay 0.
    const size_t width = attribute == kAlgorithmClusterShape ? 2 : 4;
    const CublasStatus status =
        lt.MatmulAlgoConfigGetAttribute(&algorithm, attribute, &value, width, &written);
    return status == kCublasSuccess ? static_cast<int>(value) : -1;
}

double microseconds_of(const Graph& graph, const Stream& stream) {
    Event start;
    Event end;
    start.record(stream);
    graph.launch(stream);
    end.record(stream);
    end.synchronize();
    return end.microseconds_since(start);
}

}  // namespace

Matmul::Matmul(const CublasLt& lt, MatmulKind kind, Fp8Sums sums, uint64_t m, uint64_t n, uint64_t k,
               const DeviceBuffer& workspace)
    : lt_(lt), workspace_(workspace) {
    try {
        describe_problem(kind, sums, m, n, k);
        candidates_ = ask_heuristic();
        if (candidates_.empty() && has_scale_vectors(kind)) {
            release();
            out_type_ = kCudaR16BF;
            describe_problem(kind, sums, m, n, k);
            candidates_ = ask_heuristic();
        }
        if (candidates_.empty()) {
            throw CudaError("CUBLAS_STATUS_NOT_SUPPORTED",
                            "cuBLASLt " + lt.version() + " has no algorithm for m " + std::to_string(m) +
                                ", n " + std::to_string(n) + ", k " + std::to_string(k) +
                                " of this kind on this device");
        }
    } catch (...) {
        release();
        throw;
    }
}

Matmul::~Matmul() { release(); }

void Matmul::release() noexcept {
    if (description_ != nullptr) lt_.MatmulDescDestroy(description_);
    for (MatrixLayout layout : {weights_, activations_, out_}) {
        if (layout != nullptr) lt_.MatrixLayoutDestroy(layout);
    }
    description_ = nullptr;
    weights_ = activations_ = out_ = nullptr;
}

/// cuBLASLt counts in columns: its A is W as [K, N], transposed; its B is X as [K, M]; its D is out as [N,
/// M].
void Matmul::describe_problem(MatmulKind kind, Fp8Sums sums, uint64_t m, uint64_t n, uint64_t k) {
    const CudaDataType input = kind == MatmulKind::kFp16 ? kCudaR16F : kCudaR8FE4M3;
    CUBLASLT_CALL(lt_, MatmulDescCreate(&description_, kCompute32F, kCudaR32F));
    set(lt_, description_, kMatmulTransA, kOperationTranspose);
    set(lt_, description_, kMatmulTransB, kOperationNone);
    if (kind != MatmulKind::kFp16 && sums == Fp8Sums::kFast) {
        set(lt_, description_, kMatmulFastAccumulation, int8_t{1});
    }
    if (has_scale_vectors(kind)) {
        set(lt_, description_, kMatmulAScaleMode, kScaleModeOuterVector32F);
        set(lt_, description_, kMatmulBScaleMode, kScaleModeOuterVector32F);
        // The heuristic refuses vectors of scales that lie nowhere, and does not read them.
        set(lt_, description_, kMatmulAScalePointer, workspace_.address());
        set(lt_, description_, kMatmulBScalePointer, workspace_.address());
    }
    CUBLASLT_CALL(lt_, MatrixLayoutCreate(&weights_, input, k, n, static_cast<int64_t>(k)));
    CUBLASLT_CALL(lt_, MatrixLayoutCreate(&activations_, input, k, m, static_cast<int64_t>(k)));
    CUBLASLT_CALL(lt_, MatrixLayoutCreate(&out_, out_type_, n, m, static_cast<int64_t>(n)));
}

std::vector<MatmulHeuristic> Matmul::ask_heuristic() const {
    MatmulPreference preference = nullptr;
    CUBLASLT_CALL(lt_, MatmulPreferenceCreate(&preference));
    const uint64_t bytes = workspace_.bytes();
    std::vector<MatmulHeuristic> found(kCandidates);
    int count = 0;
    CublasStatus status =
        lt_.MatmulPreferenceSetAttribute(preference, kPreferenceMaxWorkspaceBytes, &bytes, sizeof bytes);
    if (status == kCublasSuccess) {
        status = lt_.MatmulAlgoGetHeuristic(lt_.handle(), description_, weights_, activations_, out_, out_,
                                            preference, kCandidates, found.data(), &count);
    }
    lt_.MatmulPreferenceDestroy(preference);
    if (status == kCublasNotSupported) return {};
    lt_.check(status, "cublasLtMatmulAlgoGetHeuristic(...)", __FILE__, __LINE__);
    found.resize(static_cast<size_t>(count));
    std::erase_if(found, [](const MatmulHeuristic& one) { return one.state != kCublasSuccess; });
    return found;
}

CublasStatus Matmul::try_run(const MatmulAlgorithm& algorithm, const MatmulOperands& operands,
                             const Stream& stream) const {
    if (operands.weight_scale != 0) {
        set(lt_, description_, kMatmulAScalePointer, operands.weight_scale);
        set(lt_, description_, kMatmulBScalePointer, operands.activation_scale);
    }
    const float one = 1;
    const float zero = 0;
    void* out = reinterpret_cast<void*>(operands.out);
    return lt_.Matmul(lt_.handle(), description_, &one, reinterpret_cast<const void*>(operands.weights),
                      weights_, reinterpret_cast<const void*>(operands.activations), activations_, &zero, out,
                      out_, out, out_, &algorithm, reinterpret_cast<void*>(workspace_.address()),
                      workspace_.bytes(), stream.handle());
}

double Matmul::time_of(const MatmulAlgorithm& algorithm, std::span<const MatmulOperands> copies, int runs,
                       const Stream& stream) const {
    Event start;
    Event end;
    start.record(stream);
    for (int run = 0; run < runs; ++run) {
        const CublasStatus status =
            try_run(algorithm, copies[static_cast<size_t>(run) % copies.size()], stream);
        if (status != kCublasSuccess) return kNever;
    }
    end.record(stream);
    end.synchronize();
    return end.microseconds_since(start) / runs;
}

void Matmul::choose(std::span<const MatmulOperands> copies, const Stream& stream) {
    const size_t count = candidates_.size();
    std::vector<double> first(count);
    for (size_t at = 0; at < count; ++at) {
        // The first run of an algorithm loads its kernel.
        time_of(candidates_[at].algorithm, copies, 1, stream);
        first[at] = time_of(candidates_[at].algorithm, copies, 2, stream);
    }
    const double least = *std::min_element(first.begin(), first.end());
    if (least == kNever) run(copies.front(), stream);  // which throws the reason of the first
    const double limit = least < kLaunchBoundMicroseconds ? kLaunchBoundMicroseconds : kHopeless * least;
    const int runs = std::clamp(static_cast<int>(kRoundMicroseconds / least), 1, kMostRuns);
    std::vector<std::unique_ptr<Graph>> finalists(count);
    for (size_t at = 0; at < count; ++at) {
        if (first[at] > limit) continue;
        finalists[at] = std::make_unique<Graph>(stream, [&] {
            for (int run = 0; run < runs; ++run) {
                check_run(candidates_[at].algorithm, copies[static_cast<size_t>(run) % copies.size()],
                          stream);
            }
        });
    }
    std::vector<double> best(count, kNever);
    for (int round = 0; round < kRounds; ++round) {
        for (size_t at = 0; at < count; ++at) {
            if (finalists[at]) best[at] = std::min(best[at], microseconds_of(*finalists[at], stream));
        }
    }
    chosen_ = static_cast<size_t>(std::min_element(best.begin(), best.end()) - best.begin());
}

void Matmul::check_run(const MatmulAlgorithm& algorithm, const MatmulOperands& operands,
                       const Stream& stream) const {
    lt_.check(try_run(algorithm, operands, stream), "cublasLtMatmul(...)", __FILE__, __LINE__);
}

void Matmul::run(const MatmulOperands& operands, const Stream& stream) const {
    check_run(candidates_[chosen_].algorithm, operands, stream);
}

std::string Matmul::description() const {
    const MatmulAlgorithm& algorithm = candidates_[chosen_].algorithm;
    const auto value = [&](AlgorithmAttribute attribute) {
        return std::to_string(attribute_of(lt_, algorithm, attribute));
    };
    return "algorithm " + value(kAlgorithmId) + ", tile " + value(kAlgorithmTile) + ", stages " +
           value(kAlgorithmStages) + ", split " + value(kAlgorithmSplitK) + ", cluster " +
           value(kAlgorithmClusterShape) + (out_type_ == kCudaR16BF ? ", out bf16" : "") + "; best of " +
           std::to_string(candidates_.size());
}

}  // namespace nestedfp::cuda
