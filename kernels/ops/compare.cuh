// Outputs against the reference, against each other and against the identity's.
#pragma once

#include "grid_stride.cuh"
#include "planes.cuh"
#include "values.cuh"

namespace nestedfp::kernels {

__device__ inline void compare_reference(const CompareReferenceParams& p) {
    double squared_error = 0, squared_reference = 0;
    float largest_error = 0;
    for_each(p.rows * p.n, [&](int64_t i) {
        const int64_t row = reference_row(i / p.n, p.rows, p.m);
        const float reference = p.reference[i];
        const float error = fabsf(read(p.out, row * p.n + i % p.n, p.reading) - reference);
        squared_error += static_cast<double>(error) * error;
        squared_reference += static_cast<double>(reference) * reference;
        largest_error = fmaxf(largest_error, error);  // which passes over NaN; the sums do not
    });
    const auto sum = [](double a, double b) { return a + b; };
    squared_error = over_block(squared_error, sum);
    squared_reference = over_block(squared_reference, sum);
    largest_error = over_block(largest_error, [](float a, float b) { return fmaxf(a, b); });
    if (threadIdx.x != 0) return;
    atomicAdd(&p.difference->squared_error, squared_error);
    atomicAdd(&p.difference->squared_reference, squared_reference);
    atomicMax(&p.difference->largest_error, __float_as_uint(largest_error));
}

__device__ inline void note(Mismatch* found, int64_t at) {
    static_assert(sizeof(unsigned long long) == sizeof(uint64_t));
    atomicAdd(reinterpret_cast<unsigned long long*>(&found->count), 1ull);
    atomicMin(reinterpret_cast<unsigned long long*>(&found->first), static_cast<unsigned long long>(at));
}

__device__ inline void count_nan(const CountNanParams& p) {
    for_each(p.count, [&](int64_t i) {
        if (isnan(read(p.words, i, p.reading))) note(p.found, i);
    });
}

__device__ inline void compare_words(const CompareWordsParams& p) {
    for_each(p.count, [&](int64_t i) {
        if (p.a[i] != p.b[i]) note(p.found, i);
    });
}

__device__ inline void compare_identity(const CompareIdentityParams& p) {
    for_each(p.m * p.n, [&](int64_t i) {
        const int64_t t = i / p.n, n = i % p.n, k = p.first + t;
        // Beyond K the row of X is zero, and so is its output.
        const float value = k < p.k ? read(p.words, n * p.k + k, p.reading) * p.scale[n] : 0;
        const uint16_t expected = half_of(value);
        const bool both_zero = ((p.out[i] | expected) & 0x7fff) == 0;
        if (p.out[i] != expected && !both_zero) note(p.found, i);
    });
}

}  // namespace nestedfp::kernels
