#pragma once

#include <span>
#include <string_view>
#include <vector>

namespace nestedfp::dispatch {

/// Those of a table, in its order, that this CPU runs. An Implementation has a name and tells whether it is
/// supported.
template <typename Implementation>
std::vector<const Implementation*> supported_by_cpu(std::span<const Implementation* const> table) {
    std::vector<const Implementation*> supported;
    for (const Implementation* implementation : table) {
        if (implementation->is_supported()) supported.push_back(implementation);
    }
    return supported;
}

/// nullptr when there is none of this name.
template <typename Implementation>
const Implementation* find_by_name(std::span<const Implementation* const> table, std::string_view name) {
    for (const Implementation* implementation : table) {
        if (name == implementation->name) return implementation;
    }
    return nullptr;
}

}  // namespace nestedfp::dispatch
