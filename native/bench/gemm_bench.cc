// Times the linear layers of the CPU device beside the machine's own limits, and prints tab-separated
// medians:
//     gemm_bench [--threads N] [--implementation NAME] [--samples N] [--tokens M,M,...] [--rows N] [--cols K]
// Each sample runs every contender once, one after the other, so that what else happens on the machine meets
// all of them alike. Few tokens read the weights of as many layers as it takes to leave every cache behind.
// test/bench/eval.mjs runs it and draws the table.
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "bench/machine_limits.h"
#include "codec/overlay.h"
#include "cpu/dispatch.h"
#include "cpu/linear.h"

namespace {

using namespace nestedfp;
using Clock = std::chrono::steady_clock;

/// A plane of this many bytes does not stay in a third-level cache of 260 MB.
constexpr size_t kLeastPlaneBytes = 640 << 20;

/// From here on the arithmetic takes so much longer than the reading that one layer will do.
constexpr size_t kManyTokens = 64;

struct Options {
    unsigned threads = std::max(1u, std::thread::hardware_concurrency());
    std::string implementation = cpu::supported_implementations().front()->name;
    size_t samples = 11;
    std::vector<size_t> tokens = {1, 4, 16, 64, 256, 512};
    size_t rows = 14336;
    size_t cols = 4096;
};

size_t number(std::string_view text) {
    size_t value = 0;
    std::from_chars(text.data(), text.data() + text.size(), value);
    return value;
}

std::vector<size_t> numbers(std::string_view text) {
    std::vector<size_t> values;
    for (size_t comma = 0; comma != std::string_view::npos; text.remove_prefix(comma + 1)) {
        comma = text.find(',');
        values.push_back(number(text.substr(0, comma)));
        if (comma == std::string_view::npos) break;
    }
    return values;
}

Options parse(int argc, char** argv) {
    Options options;
    for (int n = 1; n + 1 < argc; n += 2) {
        const std::string_view flag = argv[n];
        const std::string_view value = argv[n + 1];
        if (flag == "--threads") options.threads = static_cast<unsigned>(number(value));
        if (flag == "--implementation") options.implementation = value;
        if (flag == "--samples") options.samples = number(value);
        if (flag == "--tokens") options.tokens = numbers(value);
        if (flag == "--rows") options.rows = number(value);
        if (flag == "--cols") options.cols = number(value);
    }
    return options;
}

/// The same layers as words and as planes; all words are eligible.
class Layers {
   public:
    Layers(size_t count, size_t rows, size_t cols)
        : rows_(rows),
          cols_(cols),
          words_(count * rows * cols),
          upper_(words_.size()),
          lower_(words_.size()) {
        uint32_t state = 42;
        for (size_t k = 0; k < words_.size(); ++k) {
            state = state * 1664525u + 1013904223u;
            // Both signs, magnitudes up to 0.25.
            const auto word = static_cast<uint16_t>((state >> 31) << 15 | (state >> 8 & 0x7FFF) % 0x3400);
            const codec::Pair pair = codec::decompose(word);
            words_[k] = word;
            upper_[k] = pair.upper;
            lower_[k] = pair.lower;
        }
    }

    cpu::WeightView view(cpu::Loader loader, size_t layer) const {
        const size_t at = layer * rows_ * cols_;
        cpu::WeightView view{loader, upper_.data() + at, lower_.data() + at, nullptr, rows_, cols_};
        if (loader == cpu::Loader::kHalf) view.bytes = reinterpret_cast<const uint8_t*>(words_.data() + at);
        return view;
    }

    const std::vector<uint16_t>& words() const { return words_; }

   private:
    size_t rows_;
    size_t cols_;
    std::vector<uint16_t> words_;
    std::vector<uint8_t> upper_;
    std::vector<uint8_t> lower_;
};

struct Contender {
    const char* name;
    cpu::Loader loader;
    bool quantise_x;
};

constexpr Contender kContenders[] = {
    {"fp16", cpu::Loader::kHalf, false},
    {"nested-fp16", cpu::Loader::kNestedHalf, false},
    {"nested-fp8", cpu::Loader::kNestedFp8, true},
    {"nested-fp8 w8a16", cpu::Loader::kNestedFp8, false},
    {"fp8", cpu::Loader::kFp8, true},
};

template <typename Work>
double seconds_of(const Work& work) {
    const auto start = Clock::now();
    work();
    return std::chrono::duration<double>(Clock::now() - start).count();
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

/// Prints: tokens, contender, seconds per layer, and for the limits their rate.
void measure(cpu::Engine& engine, const Options& options, const Layers& layers, size_t layer_count,
             size_t tokens) {
    std::vector<float> x(tokens * options.cols);
    std::vector<float> out(tokens * options.rows);
    for (size_t k = 0; k < x.size(); ++k) x[k] = static_cast<float>(k % 251) / 251 - 0.5F;
    const std::vector<float> scales(options.rows, 1.5F);
    const size_t used_layers = tokens < kManyTokens ? layer_count : 1;

    std::map<std::string, std::vector<double>> samples;
    for (size_t sample = 0; sample <= options.samples; ++sample) {  // the first warms up
        std::map<std::string, double> seconds;
        seconds["peak"] = bench::fma_gflops(engine.team, options.implementation);
        seconds["read"] = bench::read_gigabytes(engine.team, layers.words());
        for (const Contender& contender : kContenders) {
            const cpu::Loader loader = contender.loader;
            seconds[contender.name] = seconds_of([&] {
                for (size_t layer = 0; layer < used_layers; ++layer) {
                    cpu::linear(engine, {.x = {x.data(), tokens, options.cols, options.cols},
                                         .weights = layers.view(loader, layer),
                                         .out = {out.data(), tokens, options.rows, options.rows},
                                         .row_scales = loader == cpu::Loader::kFp8 ? scales.data() : nullptr,
                                         .quantise_x = contender.quantise_x});
                }
            });
            seconds[contender.name] /= static_cast<double>(used_layers);
        }
        for (const auto& [name, value] : seconds) {
            if (sample > 0) samples[name].push_back(value);
        }
    }
    for (const auto& [name, values] : samples) {
        std::printf("%zu\t%s\t%.9g\n", tokens, name.c_str(), median(values));
        std::fflush(stdout);
    }
}

}  // namespace

int main(int argc, char** argv) {
    const Options options = parse(argc, argv);
    const cpu::Implementation* implementation = cpu::find_implementation(options.implementation);
    if (implementation == nullptr) {
        std::fprintf(stderr, "gemm_bench: this CPU does not run \"%s\"\n", options.implementation.c_str());
        return 1;
    }
    cpu::Engine engine(*implementation, options.threads);
    const size_t layer_count = kLeastPlaneBytes / (options.rows * options.cols) + 1;
    const Layers layers(layer_count, options.rows, options.cols);
    for (const size_t tokens : options.tokens) measure(engine, options, layers, layer_count, tokens);
}
