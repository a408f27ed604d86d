// How the simulations of this folder say which rules are broken.
#pragma once

#include <cstdio>

static int broken = 0;

/// Counts a rule that does not hold, and prints the first twenty. @param problem has a print().
template <typename Problem>
void require(bool holds, const Problem& problem, const char* rule) {
    if (holds || ++broken > 20) return;
    std::printf("broken: %s: ", rule);
    problem.print();
    std::printf("\n");
}
