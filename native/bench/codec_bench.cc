// Times the kernels of the codec in the cache, one thread, and prints tab-separated GB/s of source words:
//     codec_bench [--size BYTES] [--samples N]
// test/bench/codec.mjs runs it and draws the table.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

#include "codec/dispatch.h"
#include "codec/float16.h"
#include "codec/rows.h"

namespace {

using namespace nestedfp::codec;
using Clock = std::chrono::steady_clock;

struct Options {
    size_t size = 256 * 1024;
    int samples = 200;
};

Options parse(int argc, char** argv) {
    Options options;
    for (int n = 1; n + 1 < argc; n += 2) {
        const std::string_view flag = argv[n];
        if (flag == "--size") options.size = std::strtoull(argv[n + 1], nullptr, 10);
        if (flag == "--samples") options.samples = std::atoi(argv[n + 1]);
    }
    return options;
}

/// One row of words in a narrow bell around zero, as weights are, all of them eligible.
template <typename ToWord>
std::vector<uint8_t> make_words(size_t count, ToWord to_word) {
    std::vector<uint8_t> bytes(count * 2);
    uint64_t state = 42;
    for (size_t k = 0; k < count; ++k) {
        int sum = 0;
        for (int term = 0; term < 4; ++term) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            sum += static_cast<int>(state >> 48) - 32768;
        }
        const uint16_t word = to_word(static_cast<float>(sum) * 0x1p-20f);
        std::memcpy(bytes.data() + k * 2, &word, 2);
    }
    return bytes;
}

/// Times `pass`, which handles `bytes` bytes, in samples of at least 50 microseconds; prints best and median.
template <typename Pass>
void measure(const char* implementation, const char* operation, size_t bytes, int samples, Pass pass) {
    const int passes = static_cast<int>(std::max<size_t>(1, (1u << 20) / std::max<size_t>(bytes, 1)));
    std::vector<double> rates;
    for (int sample = -samples / 10; sample < samples; ++sample) {  // the first tenth warms up
        const auto start = Clock::now();
        for (int n = 0; n < passes; ++n) {
            pass();
            asm volatile("" ::: "memory");
        }
        const std::chrono::duration<double> seconds = Clock::now() - start;
        if (sample >= 0) rates.push_back(static_cast<double>(bytes) * passes / seconds.count() / 1e9);
    }
    std::sort(rates.begin(), rates.end());
    std::printf("%s\t%s\t%.2f\t%.2f\n", implementation, operation, rates.back(), rates[rates.size() / 2]);
}

void measure_all(const Implementation& implementation, const Options& options) {
    const size_t count = options.size / 2;
    std::vector<uint8_t> f16 = make_words(count, [](float value) { return round_to_half(value); });
    const std::vector<uint8_t> bf16 = make_words(count, [](float value) { return round_to_bf16(value); });
    std::vector<uint8_t> upper(count);
    std::vector<uint8_t> lower(count);
    uint8_t shift = 0;
    const Rows f16_row{&implementation, Dtype::F16, count, 1};
    const Rows bf16_row{&implementation, Dtype::BF16, count, 1};
    volatile double sink = 0;

    const auto time = [&](const char* operation, auto pass) {
        measure(implementation.name, operation, options.size, options.samples, pass);
    };
    time("decompose", [&] { split_rows(f16_row, f16.data(), &shift, upper.data(), lower.data()); });
    time("reconstruct", [&] { join_rows(f16_row, upper.data(), lower.data(), &shift, f16.data()); });
    time("scan F16", [&] { sink = scan_rows(f16_row, f16.data(), &shift).max_abs; });
    time("scan BF16", [&] { sink = scan_rows(bf16_row, bf16.data(), &shift).max_abs; });
    time("split BF16", [&] { split_rows(bf16_row, bf16.data(), &shift, upper.data(), lower.data()); });
    time("join BF16", [&] { join_rows(bf16_row, upper.data(), lower.data(), &shift, f16.data()); });
    time("canonical", [&] {
        sink = static_cast<double>(implementation.count_non_canonical(upper.data(), lower.data(), count));
    });
    time("noise BF16", [&] { sink = noise_of(bf16_row, bf16.data(), &shift, upper.data()).noise; });
    time("crc32", [&] { sink = implementation.crc32(0, f16.data(), f16.size()); });
}

}  // namespace

int main(int argc, char** argv) {
    const Options options = parse(argc, argv);
    const std::vector<uint8_t> from(options.size, 1);
    std::vector<uint8_t> to(options.size);
    measure("libc", "memcpy", options.size, options.samples,
            [&] { std::memcpy(to.data(), from.data(), options.size); });
    for (const Implementation* implementation : supported_implementations())
        measure_all(*implementation, options);
}
