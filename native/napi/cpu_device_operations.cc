// The operations of a decoder, which are only queued.
#include <algorithm>
#include <cmath>
#include <string>

#include "cpu/attention.h"
#include "cpu/linear.h"
#include "cpu/row_operations.h"
#include "napi/cpu_device.h"
#include "napi/cpu_memory.h"

namespace nestedfp::napi {

/// embedding(table, ids, out)
void CpuDevice::embedding(const Napi::CallbackInfo& info) {
    CpuArguments arguments(info, owner());
    const cpu::Table table = table_of(info, arguments.weights(0, "table"));
    const cpu::MatrixView out = arguments.activations(2, "out");
    arguments.check_shape(out, "out", out.rows, table.cols);
    const std::vector<int32_t> ids = arguments.indices(1, "ids", out.rows, table.rows);
    enqueue(arguments, [table, ids, out](cpu::Engine& engine) { cpu::embedding(engine, table, ids, out); });
}

/// rmsNorm(x, weight, eps, out)
void CpuDevice::rms_norm(const Napi::CallbackInfo& info) {
    CpuArguments arguments(info, owner());
    const cpu::MatrixView x = arguments.activations(0, "x");
    const Constants weight = arguments.constants(1, "weight");
    const double eps = arguments.number(2, "eps");
    const cpu::MatrixView out = arguments.activations(3, "out");
    arguments.check(x.cols % weight.length == 0, "weight",
                    "a divisor of " + std::to_string(x.cols) + " columns", std::to_string(weight.length));
    arguments.check(eps >= 0, "eps", "at least 0", std::to_string(eps));
    arguments.check_shape(out, "out", x.rows, x.cols);
    arguments.check_apart(out, x, "x", true);
    enqueue(arguments, [x, weight, eps, out](cpu::Engine& engine) {
        cpu::rms_norm(engine, x, weight.data, weight.length, static_cast<float>(eps), out);
    });
}

/// linear(x, weights, out, precision, quantise, bias | undefined)
void CpuDevice::linear(const Napi::CallbackInfo& info) {
    CpuArguments arguments(info, owner());
    cpu::LinearArguments call;
    call.x = arguments.activations(0, "x");
    call.out = arguments.activations(2, "out");
    const std::string precision = arguments.string(3, "precision");
    call.quantise_x = arguments.boolean(4, "quantise") && precision != "fp16" && precision != "nested-fp16";
    choose_loader(info, arguments.weights(1, "weights"), precision, call);
    const cpu::WeightView& weights = call.weights;
    arguments.check_shape(call.x, "x", call.x.rows, weights.cols);
    arguments.check_shape(call.out, "out", call.x.rows, weights.rows);
    arguments.check_apart(call.out, call.x, "x");
    if (!arguments.is_undefined(5)) {
        const Constants bias = arguments.constants(5, "bias");
        arguments.check(bias.length == weights.rows, "bias", std::to_string(weights.rows) + " values",
                        std::to_string(bias.length));
        call.bias = bias.data;
    }
    enqueue(arguments, [call](cpu::Engine& engine) { cpu::linear(engine, call); });
}

/// rope(x, headDim, rotaryDim, cos, sin, positions)
void CpuDevice::rope(const Napi::CallbackInfo& info) {
    CpuArguments arguments(info, owner());
    cpu::RopeArguments call;
    call.x = arguments.activations(0, "x");
    call.head_dim = arguments.integer(1, "headDim", 2, call.x.cols);
    const size_t rotary_dim = arguments.integer(2, "rotaryDim", 2, call.head_dim);
    call.half = rotary_dim / 2;
    const Constants cos = arguments.constants(3, "cos");
    const Constants sin = arguments.constants(4, "sin");
    call.cos = cos.data;
    call.sin = sin.data;
    arguments.check(call.x.cols % call.head_dim == 0, "headDim",
                    "a divisor of " + std::to_string(call.x.cols) + " columns",
                    std::to_string(call.head_dim));
    arguments.check(rotary_dim % 2 == 0, "rotaryDim", "an even number", std::to_string(rotary_dim));
    arguments.check(cos.length % call.half == 0, "cos", "rows of " + std::to_string(call.half) + " values",
                    std::to_string(cos.length));
    arguments.check(sin.length == cos.length, "sin", std::to_string(cos.length) + " values",
                    std::to_string(sin.length));
    const std::vector<int32_t> positions =
        arguments.indices(5, "positions", call.x.rows, cos.length / call.half);
    enqueue(arguments, [call, positions](cpu::Engine& engine) {
        cpu::RopeArguments with_positions = call;
        with_positions.positions = positions;
        cpu::rope(engine, with_positions);
    });
}

/// attention(q, k, v, out, sequenceLengths, heads, kvHeads, headDim, scale, slidingWindow | undefined)
void CpuDevice::attention(const Napi::CallbackInfo& info) {
    CpuArguments arguments(info, owner());
    cpu::AttentionArguments call;
    call.q = arguments.activations(0, "q");
    call.k = arguments.activations(1, "k");
    call.v = arguments.activations(2, "v");
    call.out = arguments.activations(3, "out");
    const std::vector<int32_t> lengths = arguments.integers(4, "sequenceLengths");
    call.heads = arguments.integer(5, "heads", 1, kMostRows);
    call.kv_heads = arguments.integer(6, "kvHeads", 1, call.heads);
    call.head_dim = arguments.integer(7, "headDim", 1, kMostRows);
    const double scale = arguments.number(8, "scale");
    call.scale = static_cast<float>(scale);
    const size_t rows = call.q.rows;
    const size_t window =
        arguments.is_undefined(9) ? rows : arguments.integer(9, "slidingWindow", 1, kMostRows);
    call.window = std::min(window, rows);
    arguments.check(call.heads % call.kv_heads == 0, "kvHeads", "a divisor of " + std::to_string(call.heads),
                    std::to_string(call.kv_heads));
    arguments.check(scale > 0 && std::isfinite(scale), "scale", "a number above 0", std::to_string(scale));
    arguments.check_shape(call.q, "q", rows, call.heads * call.head_dim);
    arguments.check_shape(call.k, "k", rows, call.kv_heads * call.head_dim);
    arguments.check_shape(call.v, "v", rows, call.kv_heads * call.head_dim);
    arguments.check_shape(call.out, "out", rows, call.heads * call.head_dim);
    arguments.check_apart(call.out, call.q, "q");
    arguments.check_apart(call.out, call.k, "k");
    arguments.check_apart(call.out, call.v, "v");
    size_t sum = 0;
    for (const int32_t length : lengths) {
        arguments.check(length >= 1, "sequenceLengths", "lengths of at least 1", std::to_string(length));
        sum += static_cast<size_t>(length);
    }
    arguments.check(sum == rows, "sequenceLengths", "a sum of " + std::to_string(rows), std::to_string(sum));
    enqueue(arguments, [call, lengths](cpu::Engine& engine) {
        cpu::AttentionArguments with_lengths = call;
        with_lengths.sequence_lengths = lengths;
        cpu::attention(engine, with_lengths);
    });
}

/// siluMul(gate, up, out)
void CpuDevice::silu_mul(const Napi::CallbackInfo& info) {
    CpuArguments arguments(info, owner());
    const cpu::MatrixView gate = arguments.activations(0, "gate");
    const cpu::MatrixView up = arguments.activations(1, "up");
    const cpu::MatrixView out = arguments.activations(2, "out");
    arguments.check_shape(up, "up", gate.rows, gate.cols);
    arguments.check_shape(out, "out", gate.rows, gate.cols);
    arguments.check_apart(out, gate, "gate", true);
    arguments.check_apart(out, up, "up", true);
    enqueue(arguments, [gate, up, out](cpu::Engine& engine) { cpu::silu_mul(engine, gate, up, out); });
}

/// add(x, y)
void CpuDevice::add(const Napi::CallbackInfo& info) {
    CpuArguments arguments(info, owner());
    const cpu::MatrixView x = arguments.activations(0, "x");
    const cpu::MatrixView y = arguments.activations(1, "y");
    arguments.check_shape(y, "y", x.rows, x.cols);
    arguments.check_apart(x, y, "y", true);
    enqueue(arguments, [x, y](cpu::Engine& engine) { cpu::add(engine, x, y); });
}

}  // namespace nestedfp::napi
