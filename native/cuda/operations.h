#pragma once

#include <cstdint>

#include "cuda/memory.h"
#include "cuda/module.h"
#include "interface/ops.h"

namespace nestedfp::cuda {

/// The plain kernels of kernels/ops, put on a stream with a grid that fits.
class Operations {
   public:
    Operations(ModuleFolder& modules, int sm_count, const Stream& stream);

    void run(const kernels::FillNormalParams& p) const { over(fill_normal_, p.count, p); }
    void run(const kernels::FillEligibleParams& p) const { over(fill_eligible_, p.count, p); }
    void run(const kernels::FillIdentityParams& p) const { over(fill_identity_, p.m * p.k, p); }
    void run(const kernels::SplitPlanesParams& p) const { over(split_planes_, p.n * p.padded_k, p); }
    void run(const kernels::JoinPlanesParams& p) const { over(join_planes_, p.n * p.padded_k, p); }
    void run(const kernels::QuantiseRowsParams& p, int64_t rows) const;
    void run(const kernels::AbsoluteMaximumParams& p) const { over(absolute_maximum_, p.count / 8, p); }
    void run(const kernels::QuantiseTensorParams& p) const { over(quantise_tensor_, p.count / 4, p); }
    void run(const kernels::ReferenceGemmParams& p) const;
    void run(const kernels::CompareIdentityParams& p) const { over(compare_identity_, p.m * p.n, p); }
    void run(const kernels::WaitParams& p) const { wait_.launch({.grid = 1, .block = 1}, p, stream_); }

    /// These wait for the result. The params' own result pointer is ignored.
    kernels::Difference result_of(kernels::CompareReferenceParams p) const;
    kernels::Mismatch result_of(kernels::CountNanParams p) const;
    kernels::Mismatch result_of(kernels::CompareWordsParams p) const;

    /// A Mismatch with nothing found yet, and what was found in it since.
    kernels::Mismatch* start_mismatch() const;
    kernels::Mismatch found_mismatch() const;

   private:
    template <typename Parameters>
    void over(const Kernel& kernel, int64_t count, const Parameters& parameters) const {
        kernel.launch({.grid = grid_of(count), .block = kBlock}, parameters, stream_);
    }
    unsigned grid_of(int64_t count) const;

    static constexpr unsigned kBlock = 256;

    const Stream& stream_;
    int sm_count_;
    Kernel fill_normal_, fill_eligible_, fill_identity_, split_planes_, join_planes_, quantise_rows_,
        absolute_maximum_, quantise_tensor_, reference_gemm_, compare_reference_, count_nan_, compare_words_,
        compare_identity_, wait_;
    DeviceBuffer result_;
};

}  // namespace nestedfp::cuda
