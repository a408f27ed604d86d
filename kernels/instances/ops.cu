// Entry points of the plain kernels, by the names that interface/ops.h gives them.
#include "../ops/compare.cuh"
#include "../ops/fill.cuh"
#include "../ops/planes.cuh"
#include "../ops/quantise.cuh"
#include "../ops/reference_gemm.cuh"

namespace kernels = nestedfp::kernels;

#define NESTEDFP_ENTRY(name, Parameters) \
    extern "C" __global__ void name(const __grid_constant__ kernels::Parameters p) { kernels::name(p); }

NESTEDFP_ENTRY(fill_normal, FillNormalParams)
NESTEDFP_ENTRY(fill_eligible, FillEligibleParams)
NESTEDFP_ENTRY(fill_identity, FillIdentityParams)
NESTEDFP_ENTRY(split_planes, SplitPlanesParams)
NESTEDFP_ENTRY(join_planes, JoinPlanesParams)
NESTEDFP_ENTRY(quantise_rows, QuantiseRowsParams)
NESTEDFP_ENTRY(absolute_maximum, AbsoluteMaximumParams)
NESTEDFP_ENTRY(quantise_tensor, QuantiseTensorParams)
NESTEDFP_ENTRY(reference_gemm, ReferenceGemmParams)
NESTEDFP_ENTRY(compare_reference, CompareReferenceParams)
NESTEDFP_ENTRY(count_nan, CountNanParams)
NESTEDFP_ENTRY(compare_words, CompareWordsParams)
NESTEDFP_ENTRY(compare_identity, CompareIdentityParams)

extern "C" __global__ void wait(const __grid_constant__ kernels::WaitParams p) {
    constexpr unsigned kStep = 1000;
    for (int64_t waited = 0; waited < p.nanoseconds; waited += kStep) __nanosleep(kStep);
}
