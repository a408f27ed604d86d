#include "cuda/operations.h"

#include <algorithm>

namespace nestedfp::cuda {
namespace {

/// kernels/ops/reference_gemm.cuh: tiles of 64 x 64 outputs.
constexpr int64_t kReferenceTile = 64;

/// Rows this long, and few of them, are given the largest blocks.
constexpr int64_t kLongRow = 4096;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

Operations::Operations(ModuleFolder& modules, int sm_count, const Stream& stream)
    : stream_(stream),
      sm_count_(sm_count),
#define NESTEDFP_KERNEL(name) name##_(modules.module("ops").kernel(#name))
      NESTEDFP_KERNEL(fill_normal),
      NESTEDFP_KERNEL(fill_eligible),
      NESTEDFP_KERNEL(fill_identity),
      NESTEDFP_KERNEL(split_planes),
      NESTEDFP_KERNEL(join_planes),
      NESTEDFP_KERNEL(quantise_rows),
      NESTEDFP_KERNEL(absolute_maximum),
      NESTEDFP_KERNEL(quantise_tensor),
      NESTEDFP_KERNEL(reference_gemm),
      NESTEDFP_KERNEL(compare_reference),
      NESTEDFP_KERNEL(count_nan),
      NESTEDFP_KERNEL(compare_words),
      NESTEDFP_KERNEL(compare_identity),
      NESTEDFP_KERNEL(wait),
#undef NESTEDFP_KERNEL
      result_(std::max(sizeof(kernels::Difference), sizeof(kernels::Mismatch))) {
}

unsigned Operations::grid_of(int64_t count) const {
    const int64_t most = 8 * static_cast<int64_t>(sm_count_);
    return static_cast<unsigned>(std::clamp<int64_t>(ceil_div(count, kBlock), 1, most));
}

void Operations::run(const kernels::QuantiseRowsParams& p, int64_t rows) const {
    const unsigned block = p.cols >= kLongRow && rows < 2 * sm_count_ ? 1024 : kBlock;
    quantise_rows_.launch({.grid = static_cast<unsigned>(rows), .block = block}, p, stream_);
}

void Operations::run(const kernels::ReferenceGemmParams& p) const {
    const int64_t tiles = ceil_div(p.rows, kReferenceTile) * ceil_div(p.n, kReferenceTile);
    reference_gemm_.launch({.grid = static_cast<unsigned>(tiles), .block = kBlock}, p, stream_);
}

kernels::Difference Operations::result_of(kernels::CompareReferenceParams p) const {
    result_.fill(0, stream_);
    p.difference = result_.as<kernels::Difference>();
    over(compare_reference_, p.rows * p.n, p);
    return downloaded<kernels::Difference>(result_, stream_);
}

kernels::Mismatch* Operations::start_mismatch() const {
    const kernels::Mismatch nothing{.count = 0, .first = ~uint64_t{0}};
    result_.upload(&nothing, sizeof nothing, stream_);
    stream_.synchronize();
    return result_.as<kernels::Mismatch>();
}

kernels::Mismatch Operations::found_mismatch() const {
    return downloaded<kernels::Mismatch>(result_, stream_);
}

kernels::Mismatch Operations::result_of(kernels::CountNanParams p) const {
    p.found = start_mismatch();
    over(count_nan_, p.count, p);
    return found_mismatch();
}

kernels::Mismatch Operations::result_of(kernels::CompareWordsParams p) const {
    p.found = start_mismatch();
    over(compare_words_, p.count, p);
    return found_mismatch();
}

}  // namespace nestedfp::cuda
