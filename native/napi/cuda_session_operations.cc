// The operations on planes and rows, which the tests compare with src/codec.
#include <cstring>

#include "cuda/error.h"
#include "interface/launch_plan.h"
#include "napi/arguments.h"
#include "napi/cuda_session.h"
#include "napi/cuda_session_state.h"

namespace nestedfp::napi {
namespace {

constexpr uint64_t kMostSize = uint64_t{1} << 16;

using HostBytes = std::shared_ptr<std::vector<uint8_t>>;

HostBytes downloaded_bytes(const cuda::DeviceBuffer& buffer, const cuda::Stream& stream) {
    const auto bytes = std::make_shared<std::vector<uint8_t>>(buffer.bytes());
    buffer.download(bytes->data(), bytes->size(), stream);
    return bytes;
}

Napi::Value array_of(Napi::Env env, const HostBytes& bytes) {
    Napi::Uint8Array array = Napi::Uint8Array::New(env, bytes->size());
    std::memcpy(array.Data(), bytes->data(), bytes->size());
    return array;
}

cuda::DeviceBuffer uploaded_bytes(const Bytes& bytes, const cuda::Stream& stream) {
    return cuda::uploaded(std::span<const uint8_t>(bytes.data, bytes.size), stream);
}

std::string product(uint64_t a, uint64_t b, uint64_t bytes) {
    return std::to_string(a) + " x " + std::to_string(b) + " x " + std::to_string(bytes);
}

}  // namespace

/// splitPlanes(words, n, k)
Napi::Value CudaSession::split_planes(const Napi::CallbackInfo& info) {
    Arguments arguments(info);
    const uint64_t n = arguments.integer(1, "n", 1, kMostSize);
    const uint64_t k = arguments.integer(2, "k", 1, kMostSize);
    const Bytes words = arguments.bytes_of_size(0, "words", 2 * n * k, product(n, k, 2));
    return run(
        info,
        [words, n, k](State& state) -> Outcome {
            cuda::BenchSession& session = state.opened();
            const cuda::DeviceBuffer from = uploaded_bytes(words, session.stream());
            const uint64_t padded = kernels::padded_k(k);
            const cuda::DeviceBuffer upper(n * padded);
            const cuda::DeviceBuffer lower(kernels::lower_plane_bytes(n, k));
            session.operations().run(kernels::SplitPlanesParams{.words = from.as<uint16_t>(),
                                                                .upper = upper.as<uint8_t>(),
                                                                .lower = lower.as<uint8_t>(),
                                                                .n = static_cast<int64_t>(n),
                                                                .k = static_cast<int64_t>(k),
                                                                .padded_k = static_cast<int64_t>(padded)});
            return [upper = downloaded_bytes(upper, session.stream()),
                    lower = downloaded_bytes(lower, session.stream())](Napi::Env env) -> Napi::Value {
                Napi::Object planes = Napi::Object::New(env);
                planes["upper"] = array_of(env, upper);
                planes["lower"] = array_of(env, lower);
                return planes;
            };
        },
        arguments.take_pins());
}

/// joinPlanes(upper, lower, n, k)
Napi::Value CudaSession::join_planes(const Napi::CallbackInfo& info) {
    Arguments arguments(info);
    const uint64_t n = arguments.integer(2, "n", 1, kMostSize);
    const uint64_t k = arguments.integer(3, "k", 1, kMostSize);
    const uint64_t padded = kernels::padded_k(k);
    const Bytes upper = arguments.bytes_of_size(0, "upper", n * padded, product(n, padded, 1));
    const uint64_t lower_rows = kernels::lower_plane_bytes(n, k) / padded;
    const Bytes lower =
        arguments.bytes_of_size(1, "lower", lower_rows * padded, product(lower_rows, padded, 1));
    return run(
        info,
        [upper, lower, n, k, padded](State& state) -> Outcome {
            cuda::BenchSession& session = state.opened();
            const cuda::DeviceBuffer from_upper = uploaded_bytes(upper, session.stream());
            const cuda::DeviceBuffer from_lower = uploaded_bytes(lower, session.stream());
            const cuda::DeviceBuffer words(2 * n * k);
            session.operations().run(kernels::JoinPlanesParams{.upper = from_upper.as<uint8_t>(),
                                                               .lower = from_lower.as<uint8_t>(),
                                                               .words = words.as<uint16_t>(),
                                                               .n = static_cast<int64_t>(n),
                                                               .k = static_cast<int64_t>(k),
                                                               .padded_k = static_cast<int64_t>(padded)});
            return [bytes = downloaded_bytes(words, session.stream())](Napi::Env env) {
                return array_of(env, bytes);
            };
        },
        arguments.take_pins());
}

/// quantiseRows(words, rows, cols, permuted)
Napi::Value CudaSession::quantise_rows(const Napi::CallbackInfo& info) {
    Arguments arguments(info);
    const uint64_t rows = arguments.integer(1, "rows", 1, kMostSize);
    const uint64_t cols = arguments.integer(2, "cols", 16, kMostSize);
    const bool permuted = arguments.boolean(3, "permuted");
    if (cols % 16 != 0) {
        throw Napi::RangeError::New(info.Env(),
                                    "cols: expected a multiple of 16, got " + std::to_string(cols));
    }
    const Bytes words = arguments.bytes_of_size(0, "words", 2 * rows * cols, product(rows, cols, 2));
    return run(
        info,
        [words, rows, cols, permuted](State& state) -> Outcome {
            cuda::BenchSession& session = state.opened();
            const cuda::DeviceBuffer x = uploaded_bytes(words, session.stream());
            const uint64_t pitch = permuted ? kernels::padded_k(cols) : cols;
            const cuda::DeviceBuffer bytes(rows * pitch);
            const cuda::DeviceBuffer scales(rows * sizeof(float));
            session.operations().run(kernels::QuantiseRowsParams{.x = x.as<uint16_t>(),
                                                                 .out = bytes.as<uint8_t>(),
                                                                 .scales = scales.as<float>(),
                                                                 .cols = static_cast<int64_t>(cols),
                                                                 .pitch = static_cast<int64_t>(pitch),
                                                                 .permuted = permuted ? 1 : 0},
                                     static_cast<int64_t>(rows));
            return [bytes = downloaded_bytes(bytes, session.stream()),
                    scales = downloaded_bytes(scales, session.stream())](Napi::Env env) -> Napi::Value {
                Napi::Object result = Napi::Object::New(env);
                result["bytes"] = array_of(env, bytes);
                Napi::Float32Array values = Napi::Float32Array::New(env, scales->size() / sizeof(float));
                std::memcpy(values.Data(), scales->data(), scales->size());
                result["scales"] = values;
                return result;
            };
        },
        arguments.take_pins());
}

}  // namespace nestedfp::napi
