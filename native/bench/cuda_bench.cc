// Checks and times GPU kernels without node, for profilers and compute-sanitizer; one JSON object a line:
// cuda_bench KERNELS_FOLDER NxK[,NxK...] M[,M...] PRECISION[,...] [--filter TEXT] [--check-only] [--identity]
// [--shifts] `nestedfp bench` is what measures for people.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>
#include <sstream>
#include <string>
#include <vector>

#include "cuda/bench_layer.h"
#include "cuda/bench_session.h"

namespace {

using namespace nestedfp;

/// Of one sample.
constexpr double kSampleMicroseconds = 3000;
constexpr int kMostLaunches = 200;
constexpr int kSamples = 7;

struct Options {
    std::string kernels_folder;
    std::vector<std::pair<int64_t, int64_t>> shapes;
    std::vector<int64_t> tokens;
    std::vector<std::string> precisions;
    std::string filter;
    bool check_only = false;
    bool identity = false;
    bool shifts = false;
};

std::vector<std::string> split(const std::string& text, char separator) {
    std::vector<std::string> parts;
    std::istringstream stream(text);
    for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
    return parts;
}

Options parse(int count, char** arguments) {
    Options options;
    options.kernels_folder = arguments[1];
    for (const std::string& shape : split(arguments[2], ',')) {
        const std::vector<std::string> sides = split(shape, 'x');
        options.shapes.emplace_back(std::stoll(sides.at(0)), std::stoll(sides.at(1)));
    }
    for (const std::string& m : split(arguments[3], ',')) options.tokens.push_back(std::stoll(m));
    options.precisions = split(arguments[4], ',');
    for (int at = 5; at < count; ++at) {
        const std::string flag = arguments[at];
        if (flag == "--filter" && at + 1 < count) options.filter = arguments[++at];
        options.check_only |= flag == "--check-only";
        options.identity |= flag == "--identity";
        options.shifts |= flag == "--shifts";
    }
    return options;
}

std::vector<cuda::Contender> contenders(const std::string& name, const std::string& filter) {
    const cuda::Precision precision = cuda::precision_named(name);
    std::vector<std::string> configs = {"cublaslt", "cublaslt_rowwise"};
    for (const kernels::GemmConfig& config : kernels::kGemmConfigs) {
        for (const char* schedule : {"whole", "split", "split-last", "stream"}) {
            configs.push_back(std::string(config.name) + "/" + schedule);
        }
    }
    std::vector<cuda::Contender> found;
    for (const std::string& config : configs) {
        if (config.find(filter) == std::string::npos) continue;
        try {
            found.push_back(cuda::contender_named(precision, config));
        } catch (const std::exception&) {
            continue;  // it computes another precision
        }
    }
    return found;
}

double median_time(cuda::BenchLayer& layer, const cuda::Contender& contender, int64_t m) {
    const double guess = layer.time(contender, m, 1, true);
    const int launches = std::clamp(static_cast<int>(kSampleMicroseconds / guess), 1, kMostLaunches);
    std::vector<double> samples;
    for (int sample = 0; sample < kSamples; ++sample) {
        samples.push_back(layer.time(contender, m, launches, true));
    }
    std::sort(samples.begin(), samples.end());
    return samples[kSamples / 2];
}

bool run(cuda::BenchLayer& layer, const Options& options, const std::string& precision,
         const cuda::Contender& contender, int64_t n, int64_t k, int64_t m) {
    std::printf(R"({"kernel":"%s","config":"%s","m":%lld,"n":%lld,"k":%lld)", precision.c_str(),
                contender.config.c_str(), static_cast<long long>(m), static_cast<long long>(n),
                static_cast<long long>(k));
    bool ok = false;
    try {
        const cuda::CheckResult check = layer.check(contender, m);
        ok = check.ok;
        std::printf(R"(,"ok":%s,"rel_err":%.3g,"largest_err":%.3g,"nan":%llu,"overrun":%llu,"changed":%llu)",
                    check.ok ? "true" : "false", check.relative_error, check.largest_error,
                    static_cast<unsigned long long>(check.nan),
                    static_cast<unsigned long long>(check.overrun),
                    static_cast<unsigned long long>(check.changed));
        if (check.bitwise) std::printf(R"(,"bitwise":%s)", *check.bitwise ? "true" : "false");
        if (options.identity && !reads_fp8_activations(contender)) {
            const cuda::IdentityResult identity = layer.identity(contender);
            ok &= identity.mismatches == 0;
            std::printf(R"(,"identity_mismatches":%llu)",
                        static_cast<unsigned long long>(identity.mismatches));
        }
        if (!options.check_only) {
            std::printf(R"(,"us":%.3f)", median_time(layer, contender, m));
            if (const auto quantiser = layer.time_quantiser(contender, m, 50))
                std::printf(R"(,"quantiser_us":%.3f)", *quantiser);
        }
        std::printf(R"(,"description":"%s")", layer.description(contender, m).c_str());
    } catch (const std::exception& error) {
        ok = false;
        std::printf(R"(,"error":"%s")", error.what());
    }
    std::printf("}\n");
    std::fflush(stdout);
    return ok;
}

}  // namespace

int main(int count, char** arguments) {
    if (count < 5) {
        std::fprintf(stderr,
                     "usage: cuda_bench KERNELS_FOLDER NxK[,...] M[,...] PRECISION[,...] [--filter TEXT] "
                     "[--check-only] [--identity] [--shifts]\n");
        return 2;
    }
    try {
        const Options options = parse(count, arguments);
        cuda::BenchSession session(0, options.kernels_folder);
        std::fprintf(stderr, "%s, driver %s\n", session.info().name.c_str(), session.driver().c_str());
        std::vector<cuda::Precision> precisions;
        for (const std::string& name : options.precisions) precisions.push_back(cuda::precision_named(name));
        bool ok = true;
        for (const auto& [n, k] : options.shapes) {
            const int64_t most = *std::max_element(options.tokens.begin(), options.tokens.end());
            cuda::BenchLayer layer(session, {.n = n,
                                             .k = k,
                                             .max_m = most,
                                             .seed = 1,
                                             .precisions = precisions,
                                             .has_row_shifts = options.shifts});
            for (const int64_t m : options.tokens) {
                for (const std::string& precision : options.precisions) {
                    for (const cuda::Contender& contender : contenders(precision, options.filter)) {
                        ok &= run(layer, options, precision, contender, n, k, m);
                    }
                }
            }
        }
        return ok ? 0 : 1;
    } catch (const std::exception& error) {
        std::fprintf(stderr, "cuda_bench: %s\n", error.what());
        return 3;
    }
}
