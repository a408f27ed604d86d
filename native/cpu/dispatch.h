#pragma once

#include <span>
#include <string_view>

#include "cpu/implementation.h"

namespace nestedfp::cpu {

/// What this CPU runs, best first; "scalar" is always last.
std::span<const Implementation* const> supported_implementations();

/// nullptr when there is none of this name, or the CPU lacks it.
const Implementation* find_implementation(std::string_view name);

}  // namespace nestedfp::cpu
