#pragma once

#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

namespace nestedfp::dispatch {

/// Those of a table, in its order, that this CPU runs; it is asked once.
template <const auto& kTable>
auto supported_by_cpu() {
    using Implementation = std::remove_cvref_t<decltype(*kTable[0])>;
    // Never destroyed: worker threads may still look here while the process exits.
    static const auto& supported = *[] {
        auto* found = new std::vector<const Implementation*>;
        for (const Implementation* implementation : kTable) {
            if (implementation->is_supported()) found->push_back(implementation);
        }
        return found;
    }();
    return std::span<const Implementation* const>(supported);
}

/// nullptr when there is none of this name.
template <typename Implementation>
const Implementation* find_by_name(std::span<const Implementation* const> among, std::string_view name) {
    for (const Implementation* implementation : among) {
        if (name == implementation->name) return implementation;
    }
    return nullptr;
}

}  // namespace nestedfp::dispatch
