// Compares divide() with division, for divisors and dividends of all sizes. Prints how many quotients are wrong.
#include "interface/divisor.h"

#include <cstdio>
#include <initializer_list>
#include <random>

using namespace nestedfp::kernels;

int main() {
    std::mt19937 random(1);
    long long divisions = 0, wrong = 0;
    const auto check = [&](int64_t dividend, int32_t by) {
        if (dividend < 0 || dividend > 0x7fffffff) return;
        const auto a = static_cast<int32_t>(dividend);
        const Division found = divide(a, divisor_of(by));
        wrong += found.quotient != a / by || found.rest != a % by;
        ++divisions;
    };
    const auto check_divisor = [&](int32_t by) {
        for (int i = 0; i < 200; ++i) {
            const int64_t multiple = static_cast<int64_t>(random() >> 1) / by * by;
            for (const int64_t dividend : {multiple - 1, multiple, multiple + 1, static_cast<int64_t>(random() >> 1)}) {
                check(dividend, by);
            }
        }
        for (const int64_t dividend : {0ll, 1ll, by - 1ll, by + 0ll, by + 1ll, 0x7ffffffell, 0x7fffffffll}) check(dividend, by);
    };
    for (int32_t by = 1; by <= 5000; ++by) check_divisor(by);
    for (int bit = 0; bit < 31; ++bit) {
        for (const int64_t by : {(1ll << bit) - 1, 1ll << bit, (1ll << bit) + 1}) {
            if (by > 0) check_divisor(static_cast<int32_t>(by));
        }
    }
    for (int i = 0; i < 5000; ++i) check_divisor(static_cast<int32_t>(random() >> 1 | 1));
    std::printf("%lld divisions, %lld wrong\n", divisions, wrong);
}
