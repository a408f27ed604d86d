#include "cuda/prepared_kernel.h"

#include <utility>

#include "cuda/tensor_map.h"

namespace nestedfp::cuda {
namespace {

using kernels::GemmParams;
using kernels::LaunchPlan;
using kernels::Weights;

class OwnPrepared : public PreparedKernel {
   public:
    OwnPrepared(const KernelInputs& inputs, const OwnKernel& own, size_t copies,
                const DeviceBuffer& word_scale)
        : stream_(inputs.session.stream()),
          kernel_(inputs.session.modules().module(own.config->name).kernel(own.config->name)),
          name_(std::string(own.config->name) + "/" + name_of(own.schedule)) {
        const LayerOptions& options = inputs.options;
        const LaunchPlan plan = kernels::plan_launch(
            *own.config, own.schedule, static_cast<int32_t>(inputs.m), static_cast<int32_t>(options.n),
            static_cast<int32_t>(options.k), inputs.session.info().sm_count);
        kernel_.allow_shared_bytes(plan.shared_bytes);
        launch_ = {.grid = plan.grid,
                   .block = plan.block,
                   .cluster = plan.cluster,
                   .shared_bytes = plan.shared_bytes,
                   .overlaps = true};
        cut_tiles_ = plan.params.cut_tiles;
        parts_ = plan.params.parts;
        for (size_t at = 0; at < copies; ++at) {
            params_.push_back(params_of(inputs, *own.config, plan, inputs.weights.copy(at), word_scale));
        }
    }

    void run(size_t copy) const override { kernel_.launch(launch_, params_[copy], stream_); }
    size_t copies() const override { return params_.size(); }
    kernels::Reading out_reading() const override { return kernels::Reading::kHalf; }
    std::string description() const override {
        return name_ + ": " + std::to_string(launch_.grid) + " blocks of " + std::to_string(launch_.block) +
               " threads, clusters of " + std::to_string(launch_.cluster) + ", " +
               std::to_string(launch_.shared_bytes) + " bytes shared, " + std::to_string(cut_tiles_) +
               " tiles cut along K" + (parts_ > 0 ? " into " + std::to_string(parts_) + " parts" : "");
    }

   private:
    static GemmParams params_of(const KernelInputs& inputs, const kernels::GemmConfig& config,
                                const LaunchPlan& plan, const WeightCopy& copy,
                                const DeviceBuffer& word_scale) {
        GemmParams params = plan.params;
        const bool reads_words = config.weights == Weights::kPlain16;
        const bool reads_fp8 = config.is_e4m3();
        const bool is_binary16 = reads_words || config.weights == Weights::kNested16;
        const DeviceBuffer& weights = reads_words ? copy.words : copy.upper;
        const DeviceBuffer& x = reads_fp8 ? inputs.activations.permuted() : inputs.activations.halves();
        const bool swapped = config.swaps_operands();
        const DevicePointer rows = (swapped ? x : weights).address();
        const DevicePointer columns = (swapped ? weights : x).address();
        params.weights = encode_tensor_map(plan.weights, rows);
        params.last_weights = encode_tensor_map(plan.last_weights, rows);
        if (config.weights == Weights::kNested16)
            params.lower = encode_tensor_map(plan.lower, copy.lower.address());
        params.activations = encode_tensor_map(plan.activations, columns);
        params.last_activations = encode_tensor_map(plan.last_activations, columns);
        params.out = encode_tensor_map(plan.out, inputs.out.address());
        params.row_scale = (is_binary16 ? word_scale : inputs.weights.upper_scale()).as<float>();
        params.token_scale = reads_fp8 ? inputs.activations.token_scales().as<float>() : nullptr;
        if (swapped) std::swap(params.row_scale, params.token_scale);
        const DeviceBuffer& partials = inputs.session.partials(plan.partials_bytes);
        params.partials = partials.as<kernels::Quad>();
        params.launches = inputs.session.launches().as<uint64_t>();
        return params;
    }

    const Stream& stream_;
    Kernel kernel_;
    std::string name_;
    Kernel::Launch launch_{};
    int32_t cut_tiles_ = 0;
    int32_t parts_ = 0;
    std::vector<GemmParams> params_;
};

MatmulOperands operands_of(const KernelInputs& inputs, MatmulKind kind, const WeightCopy& copy) {
    const LayerActivations& x = inputs.activations;
    switch (kind) {
        case MatmulKind::kFp16:
            return {copy.words.address(), x.halves().address(), inputs.out.address()};
        case MatmulKind::kFp8PerTensor:
            return {copy.fp8_tensor.address(), x.tensor().address(), inputs.out.address(),
                    copy.fp8_tensor_scale.address(), x.tensor_scale().address()};
        case MatmulKind::kFp8RowWise:
            return {copy.fp8_rows.address(), x.rows().address(), inputs.out.address(),
                    copy.fp8_row_scales.address(), x.token_scales().address()};
        case MatmulKind::kUpperPlane:
            return {copy.upper.address(), x.permuted().address(), inputs.out.address(),
                    inputs.weights.upper_scale().address(), x.token_scales().address()};
    }
    return {};
}

uint64_t columns_of(const KernelInputs& inputs, MatmulKind kind) {
    const uint64_t k = static_cast<uint64_t>(inputs.options.k);
    return kind == MatmulKind::kUpperPlane ? kernels::padded_k(k) : k;
}

class LibraryPrepared : public PreparedKernel {
   public:
    LibraryPrepared(const KernelInputs& inputs, const LibraryKernel& library, size_t copies)
        : stream_(inputs.session.stream()),
          version_(inputs.session.cublaslt().version()),
          matmul_(inputs.session.cublaslt(), library.kind, library.sums, static_cast<uint64_t>(inputs.m),
                  static_cast<uint64_t>(inputs.options.n), columns_of(inputs, library.kind),
                  inputs.session.library_workspace()) {
        for (size_t at = 0; at < copies; ++at) {
            operands_.push_back(operands_of(inputs, library.kind, inputs.weights.copy(at)));
        }
        matmul_.choose(operands_, stream_);
    }

    void run(size_t copy) const override { matmul_.run(operands_[copy], stream_); }
    size_t copies() const override { return operands_.size(); }
    kernels::Reading out_reading() const override {
        return matmul_.out_type() == kCudaR16BF ? kernels::Reading::kBfloat16 : kernels::Reading::kHalf;
    }
    std::string description() const override { return "cuBLASLt " + version_ + ": " + matmul_.description(); }

   private:
    const Stream& stream_;
    std::string version_;
    Matmul matmul_;
    std::vector<MatmulOperands> operands_;
};

}  // namespace

std::unique_ptr<PreparedKernel> prepare_own(const KernelInputs& inputs, const OwnKernel& kernel,
                                            size_t copies, const DeviceBuffer& word_scale) {
    return std::make_unique<OwnPrepared>(inputs, kernel, copies, word_scale);
}

std::unique_ptr<PreparedKernel> prepare_library(const KernelInputs& inputs, const LibraryKernel& library,
                                                size_t copies) {
    return std::make_unique<LibraryPrepared>(inputs, library, copies);
}

}  // namespace nestedfp::cuda
