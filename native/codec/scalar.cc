#include <algorithm>
#include <bit>
#include <cstring>

#include "codec/crc32.h"
#include "codec/float16.h"
#include "codec/implementation.h"
#include "codec/overlay.h"

static_assert(std::endian::native == std::endian::little, "words are read and written in host order");

namespace nestedfp::codec {
namespace {

template <typename T>
T load(const uint8_t* bytes) {
    T value;
    std::memcpy(&value, bytes, sizeof value);
    return value;
}

template <typename T>
void store(uint8_t* bytes, T value) {
    std::memcpy(bytes, &value, sizeof value);
}

/// The value of a word, exact.
template <Dtype D>
float value_of(const uint8_t* word) {
    if constexpr (D == Dtype::F16) return half_to_float(load<uint16_t>(word));
    if constexpr (D == Dtype::BF16) return bf16_to_float(load<uint16_t>(word));
    if constexpr (D == Dtype::F32) return load<float>(word);
}

/// half(w * 2^-s). The product is exact, except for values far below 2^-25, which round to zero either way.
template <Dtype D>
uint16_t shifted_half(const uint8_t* word, int shift) {
    if (D == Dtype::F16 && shift == 0) return load<uint16_t>(word);
    return round_to_half(value_of<D>(word) * power_of_two(-shift));
}

struct Loss {
    bool inexact;
    bool underflow;
};

template <Dtype D>
Loss loss_of(const uint8_t* word, int shift) {
    const uint16_t half = shifted_half<D>(word, shift);
    const float kept = half_to_float(half) * power_of_two(shift);
    const bool inexact = std::bit_cast<uint32_t>(kept) != std::bit_cast<uint32_t>(value_of<D>(word));
    return {inexact, inexact && (half & 0x7FFF) == 0};
}

template <Dtype D>
uint32_t max_magnitude(const uint8_t* words, size_t count) {
    uint32_t largest = 0;
    for (size_t k = 0; k < count; ++k) {
        if constexpr (D == Dtype::F32) {
            largest = std::max(largest, load<uint32_t>(words + k * 4) & 0x7FFFFFFFu);
        } else {
            largest = std::max(largest, load<uint16_t>(words + k * 2) & 0x7FFFu);
        }
    }
    return largest;
}

template <Dtype D>
Losses count_losses(const uint8_t* words, size_t count, int shift) {
    Losses losses;
    for (size_t k = 0; k < count; ++k) {
        const Loss loss = loss_of<D>(words + k * word_bytes(D), shift);
        losses.inexact += loss.inexact;
        losses.underflow += loss.underflow;
    }
    return losses;
}

template <Dtype D>
void collect_patches(const uint8_t* words, size_t count, int shift, size_t first, PatchSink& sink) {
    for (size_t k = 0; k < count; ++k) {
        if (loss_of<D>(words + k * word_bytes(D), shift).inexact) sink.add(first + k);
    }
}

template <Dtype D>
void split(const uint8_t* words, size_t count, int shift, uint8_t* upper, uint8_t* lower) {
    for (size_t k = 0; k < count; ++k) {
        const Pair pair = decompose(shifted_half<D>(words + k * word_bytes(D), shift));
        upper[k] = pair.upper;
        lower[k] = pair.lower;
    }
}

template <Dtype D>
void join(const uint8_t* upper, const uint8_t* lower, size_t count, int shift, uint8_t* words) {
    for (size_t k = 0; k < count; ++k) {
        const uint16_t half = reconstruct({upper[k], lower[k]});
        const float value = half_to_float(half) * power_of_two(shift);
        uint8_t* word = words + k * word_bytes(D);
        if constexpr (D == Dtype::F16) store(word, shift == 0 ? half : round_to_half(value));
        if constexpr (D == Dtype::BF16) store(word, round_to_bf16(value));
        if constexpr (D == Dtype::F32) store(word, value);
    }
}

template <Dtype D>
void add_noise(const uint8_t* words, const uint8_t* upper, size_t count, int shift, NoiseLanes& lanes) {
    for (size_t k = 0; k < count; ++k) {
        const double value = value_of<D>(words + k * word_bytes(D));
        const double view = half_to_float(upper_as_half(upper[k])) * power_of_two(shift);
        const double error = value - view;
        lanes.signal[k % 8] += value * value;
        lanes.noise[k % 8] += error * error;
    }
}

size_t count_non_canonical(const uint8_t* upper, const uint8_t* lower, size_t count) {
    size_t wrong = 0;
    for (size_t k = 0; k < count; ++k) wrong += !is_canonical({upper[k], lower[k]});
    return wrong;
}

template <Dtype D>
constexpr RowKernels kKernels{max_magnitude<D>, count_losses<D>, collect_patches<D>,
                              split<D>,         join<D>,         add_noise<D>};

bool is_supported() { return true; }

}  // namespace

const Implementation scalar_implementation{
    "scalar",
    is_supported,
    {kKernels<Dtype::F16>, kKernels<Dtype::BF16>, kKernels<Dtype::F32>},
    count_non_canonical,
    crc32_slicing};

}  // namespace nestedfp::codec
