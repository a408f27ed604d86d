#pragma once

// Everything between NESTEDFP_TARGET_BEGIN("avx2,...") and NESTEDFP_TARGET_END is compiled for these
// instructions, so no file needs compiler flags of its own. Include headers before the region. No lambdas
// inside it: GCC does not apply the pragma to them.
#define NESTEDFP_PRAGMA(tokens) _Pragma(#tokens)

#if defined(__clang__)
#define NESTEDFP_TARGET_BEGIN(isa) \
    NESTEDFP_PRAGMA(clang attribute push(__attribute__((target(isa))), apply_to = function))
#define NESTEDFP_TARGET_END NESTEDFP_PRAGMA(clang attribute pop)
#else
#define NESTEDFP_TARGET_BEGIN(isa) NESTEDFP_PRAGMA(GCC push_options) NESTEDFP_PRAGMA(GCC target(isa))
#define NESTEDFP_TARGET_END NESTEDFP_PRAGMA(GCC pop_options)
#endif
