#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "codec/dtype.h"
#include "codec/patches.h"

namespace nestedfp::codec {

struct Losses {
    /// Words whose half(w * 2^-s) * 2^s is not bit-equal to w.
    uint64_t inexact = 0;
    /// Those of `inexact` that become zero.
    uint64_t underflow = 0;
};

/// Word k of a row adds to lane k % 8, and the lanes are summed in order at the end: the same result from
/// every implementation (hence -ffp-contract=off in binding.gyp).
struct NoiseLanes {
    std::array<double, 8> signal{};
    std::array<double, 8> noise{};
};

/// The loops over `count` words of one dtype under one shift s (0..15). Pointers need no alignment; outputs
/// do not overlap inputs.
struct RowKernels {
    /// The largest |w| as the dtype's own bits without sign.
    uint32_t (*max_magnitude)(const uint8_t* words, size_t count);
    Losses (*count_losses)(const uint8_t* words, size_t count, int shift);
    /// Adds first + k for each inexact word k.
    void (*collect_patches)(const uint8_t* words, size_t count, int shift, size_t first, PatchSink& sink);
    /// decompose(half(w * 2^-s)); every word is eligible under s.
    void (*split)(const uint8_t* words, size_t count, int shift, uint8_t* upper, uint8_t* lower);
    /// reconstruct(upper, lower) * 2^s, rounded to the dtype.
    void (*join)(const uint8_t* upper, const uint8_t* lower, size_t count, int shift, uint8_t* words);
    /// Adds w^2 and (w - E4M3(upper) * 2^(s-8))^2 to the lanes. `words` begins at a multiple of 8 in its row.
    /// The only kernel that DAZ can touch: BF16 and F32 words below 2^-126 then count as zero.
    void (*add_noise)(const uint8_t* words, const uint8_t* upper, size_t count, int shift, NoiseLanes& lanes);
};

/// One instruction set.
struct Implementation {
    const char* name;
    bool (*is_supported)();
    std::array<RowKernels, kDtypes> kernels;
    size_t (*count_non_canonical)(const uint8_t* upper, const uint8_t* lower, size_t count);
    /// Continues a finished CRC-32 (0 to begin).
    uint32_t (*crc32)(uint32_t crc, const uint8_t* bytes, size_t count);

    constexpr const RowKernels& of(Dtype dtype) const { return kernels[static_cast<size_t>(dtype)]; }
};

/// The specification, and the tail loop of the others.
extern const Implementation scalar_implementation;

#if defined(__x86_64__)
extern const Implementation avx2_implementation;
extern const Implementation avx512_implementation;
#elif defined(__aarch64__)
extern const Implementation neon_implementation;
#endif

}  // namespace nestedfp::codec
