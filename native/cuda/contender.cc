#include "cuda/contender.h"

#include <utility>

#include "cuda/error.h"

namespace nestedfp::cuda {
namespace {

using kernels::GemmConfig;
using kernels::Schedule;
using kernels::Weights;

constexpr Schedule kSchedules[] = {Schedule::kWhole, Schedule::kSplit, Schedule::kStream,
                                   Schedule::kSplitLast};

bool computes(Weights weights, Precision precision) {
    switch (precision) {
        case Precision::kFp16:
            return weights == Weights::kPlain16;
        case Precision::kNestedFp16:
            return weights == Weights::kNested16;
        case Precision::kNestedFp8:
            return weights == Weights::kW8A16 || weights == Weights::kW8A8 || weights == Weights::kW8A8F32 ||
                   weights == Weights::kA8W8;
        case Precision::kFp8:
            return false;
    }
    return false;
}

}  // namespace

Precision precision_named(const std::string& name) {
    if (name == "fp16") return Precision::kFp16;
    if (name == "nested-fp16") return Precision::kNestedFp16;
    if (name == "nested-fp8") return Precision::kNestedFp8;
    if (name == "fp8") return Precision::kFp8;
    throw CudaError("UNKNOWN_PRECISION",
                    "precision: expected fp16, nested-fp16, nested-fp8 or fp8, got \"" + name + '"');
}

const char* name_of(Schedule schedule) {
    switch (schedule) {
        case Schedule::kWhole:
            return "whole";
        case Schedule::kSplit:
            return "split";
        case Schedule::kStream:
            return "stream";
        case Schedule::kSplitLast:
            return "split-last";
    }
    return "unknown";
}

Contender contender_named(Precision precision, const std::string& config) {
    if (config == "cublaslt" && precision == Precision::kFp16)
        return {precision, config, LibraryKernel{MatmulKind::kFp16}};
    for (const auto& [suffix, sums] : {std::pair{"", Fp8Sums::kFast}, std::pair{"_f32", Fp8Sums::kFp32}}) {
        if (config == std::string("cublaslt") + suffix && precision == Precision::kFp8)
            return {precision, config, LibraryKernel{MatmulKind::kFp8PerTensor, sums}};
        if (config != std::string("cublaslt_rowwise") + suffix) continue;
        if (precision == Precision::kFp8)
            return {precision, config, LibraryKernel{MatmulKind::kFp8RowWise, sums}};
        if (precision == Precision::kNestedFp8)
            return {precision, config, LibraryKernel{MatmulKind::kUpperPlane, sums}};
    }
    for (const GemmConfig& own : kernels::kGemmConfigs) {
        if (!computes(own.weights, precision)) continue;
        for (const Schedule schedule : kSchedules) {
            if (config == std::string(own.name) + "/" + name_of(schedule))
                return {precision, config, OwnKernel{&own, schedule}};
        }
    }
    throw CudaError("UNKNOWN_CONTENDER", "config: no kernel \"" + config + "\" computes this precision");
}

bool reads_fp8_activations(const Contender& contender) {
    if (const auto* own = std::get_if<OwnKernel>(&contender.kernel)) return own->config->is_e4m3();
    return std::get<LibraryKernel>(contender.kernel).kind != MatmulKind::kFp16;
}

bool sums_fp8_fast(const Contender& contender) {
    if (const auto* own = std::get_if<OwnKernel>(&contender.kernel))
        return own->config->is_e4m3() && !own->config->promotes();
    const auto& library = std::get<LibraryKernel>(contender.kernel);
    return library.kind != MatmulKind::kFp16 && library.sums == Fp8Sums::kFast;
}

const GemmConfig* plain_twin(const OwnKernel& kernel) {
    const GemmConfig& config = *kernel.config;
    const bool is_whole = kernel.schedule == Schedule::kWhole;
    for (const GemmConfig& plain : kernels::kGemmConfigs) {
        if (plain.weights != Weights::kPlain16 || plain.k_groups != config.k_groups) continue;
        // Where tiles are cut along K depends on their number.
        const bool has_same_tiles =
            plain.row_groups == config.row_groups && plain.block_tokens == config.block_tokens &&
            plain.cluster_rows == config.cluster_rows && plain.cluster_tokens == config.cluster_tokens;
        if (is_whole || has_same_tiles) return &plain;
    }
    return nullptr;
}

}  // namespace nestedfp::cuda
