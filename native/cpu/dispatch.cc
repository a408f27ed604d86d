#include "cpu/dispatch.h"

#include <vector>

namespace nestedfp::cpu {
namespace {

constexpr const Implementation* kBestFirst[] = {
#if defined(__x86_64__)
    &avx512_implementation,
    &avx2_implementation,
#endif
    &scalar_implementation,
};

std::vector<const Implementation*> ask_cpu() {
    std::vector<const Implementation*> supported;
    for (const Implementation* implementation : kBestFirst) {
        if (implementation->is_supported()) supported.push_back(implementation);
    }
    return supported;
}

}  // namespace

std::span<const Implementation* const> supported_implementations() {
    // Never destroyed: worker threads may still look here while the process exits.
    static const auto& supported = *new std::vector<const Implementation*>(ask_cpu());
    return supported;
}

const Implementation* find_implementation(std::string_view name) {
    for (const Implementation* implementation : supported_implementations()) {
        if (name == implementation->name) return implementation;
    }
    return nullptr;
}

}  // namespace nestedfp::cpu
