// Rebuilds every eligible word from what its device planes hold, on a CPU. Prints each that comes back as another.
#define __device__
#define __forceinline__ inline

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <vector>

// The header of these functions is empty in the copy of kernels/ that this is compiled against. Values go through
// double, by the definitions of the formats.
namespace nestedfp::ptx {
inline double value_of_e4m3(uint32_t byte) {
    const int exponent = static_cast<int>(byte >> 3 & 15);
    const double fraction = (byte & 7) / 8.0;
    const double magnitude =
        exponent == 0 ? std::ldexp(fraction, -6) : std::ldexp(1 + fraction, exponent - 7);
    return (byte & 0x80) != 0 ? -magnitude : magnitude;
}
inline double value_of_half(uint32_t word) {
    const int exponent = static_cast<int>(word >> 10 & 31);
    const double fraction = (word & 1023) / 1024.0;
    const double magnitude =
        exponent == 0 ? std::ldexp(fraction, -14) : std::ldexp(1 + fraction, exponent - 15);
    return (word & 0x8000) != 0 ? -magnitude : magnitude;
}
/// Of a value that binary16 has.
inline uint32_t half_of(double value) {
    static const std::vector<double> magnitudes = [] {
        std::vector<double> all;
        for (uint32_t word = 0; word < 0x7c00; ++word) all.push_back(value_of_half(word));
        return all;
    }();
    const auto found = std::lower_bound(magnitudes.begin(), magnitudes.end(), std::fabs(value));
    if (found == magnitudes.end() || *found != std::fabs(value)) return 0x7e00;
    return static_cast<uint32_t>(found - magnitudes.begin()) | (std::signbit(value) ? 0x8000u : 0u);
}
inline void widen_e4m3x4(uint32_t bytes, uint32_t& low, uint32_t& high) {
    const auto two = [](uint32_t pair) {
        return half_of(value_of_e4m3(pair & 0xff)) | half_of(value_of_e4m3(pair >> 8 & 0xff)) << 16;
    };
    low = two(bytes);
    high = two(bytes >> 16);
}
inline uint32_t multiply_half2(uint32_t x, uint32_t y) {
    const auto one = [](uint32_t a, uint32_t b) { return half_of(value_of_half(a) * value_of_half(b)); };
    return one(x & 0xffff, y & 0xffff) | one(x >> 16, y >> 16) << 16;
}
inline uint32_t add_int16x2(uint32_t x, uint32_t y) {
    return ((x & 0xffff) + (y & 0xffff) & 0xffff) | ((x >> 16) + (y >> 16)) << 16;
}
/// PTX's prmt: a nibble of 8 and more gives the sign of its byte.
template <uint32_t kSelect>
uint32_t permute_bytes(uint32_t x, uint32_t y) {
    const uint64_t bytes = static_cast<uint64_t>(y) << 32 | x;
    uint32_t out = 0;
    for (int i = 0; i < 4; ++i) {
        const uint32_t nibble = kSelect >> 4 * i & 15;
        const uint32_t byte = static_cast<uint32_t>(bytes >> 8 * (nibble & 7) & 0xff);
        out |= (nibble < 8 ? byte : (byte & 0x80) != 0 ? 0xffu : 0u) << 8 * i;
    }
    return out;
}
}  // namespace nestedfp::ptx

#include "nested/rebuild.cuh"

int main() {
    int words = 0, wrong = 0;
    for (uint32_t sign = 0; sign < 2; ++sign) {
        for (uint32_t magnitude = 0; magnitude < 0x3f80; ++magnitude) {
            // FORMAT.md: E4M3 of 256 times the value, to nearest, ties to even, 448 at most.
            uint32_t upper = (magnitude + 64) / 128;
            if (magnitude % 128 == 64 && upper % 2 == 1) --upper;
            if (upper > 0x7e) upper = 0x7e;
            const uint32_t residual = magnitude - 128 * upper & 0xff;
            const uint32_t word = sign << 15 | magnitude;
            // In each of the four places, beside other words' bytes.
            for (int place = 0; place < 4; ++place) {
                const uint32_t mask = 0xffu << 8 * place;
                const uint32_t uppers = 0x81017e3cu & ~mask | (sign << 7 | upper) << 8 * place;
                const uint32_t residuals = 0x40c0017fu & ~mask | residual << 8 * place;
                uint32_t low, high;
                nestedfp::nested::rebuild(uppers, residuals, low, high);
                const uint32_t pair = place < 2 ? low : high;
                const uint32_t rebuilt = pair >> 16 * (place % 2) & 0xffff;
                if (rebuilt == word || ++wrong > 20) continue;
                std::printf("%04x came back as %04x in place %d\n", word, rebuilt, place);
            }
            ++words;
        }
    }
    std::printf("%d words, %d wrong\n", words, wrong);
}
