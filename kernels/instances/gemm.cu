// One entry point: nvcc -DNESTEDFP_INSTANCE=<name of a row of interface/configs.h>.
#include "../gemm/kernel.cuh"

namespace nestedfp::kernels {

constexpr bool is_same(const char* a, const char* b) {
    while (*a != 0 && *a == *b) ++a, ++b;
    return *a == *b;
}

constexpr GemmConfig config_named(const char* name) {
    for (const GemmConfig& config : kGemmConfigs) {
        if (is_same(config.name, name)) return config;
    }
    return {};
}

#define NESTEDFP_TEXT(x) #x
#define NESTEDFP_NAME(x) NESTEDFP_TEXT(x)

constexpr GemmConfig with_name_removed(GemmConfig config) {
    config.name = nullptr;  // a template argument may not point to a string
    return config;
}
constexpr GemmConfig kConfig = with_name_removed(config_named(NESTEDFP_NAME(NESTEDFP_INSTANCE)));
static_assert(kConfig.row_groups > 0, "NESTEDFP_INSTANCE names no row of configs.h");

extern "C" __global__ void __cluster_dims__(kConfig.cluster(), 1, 1) __launch_bounds__(kConfig.threads(), 1)
    NESTEDFP_INSTANCE(const __grid_constant__ GemmParams params) {
    gemm::gemm<kConfig>(params);
}

}  // namespace nestedfp::kernels
