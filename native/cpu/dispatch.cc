#include "cpu/dispatch.h"

#include "dispatch/by_cpu.h"

namespace nestedfp::cpu {
namespace {

constexpr const Implementation* kBestFirst[] = {
#if defined(__x86_64__)
    &avx512_implementation,
    &avx2_implementation,
#endif
    &scalar_implementation,
};

}  // namespace

std::span<const Implementation* const> supported_implementations() {
    return dispatch::supported_by_cpu<kBestFirst>();
}

const Implementation* find_implementation(std::string_view name) {
    return dispatch::find_by_name(supported_implementations(), name);
}

}  // namespace nestedfp::cpu
