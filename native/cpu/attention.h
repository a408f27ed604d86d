#pragma once

#include <span>

#include "cpu/engine.h"
#include "cpu/matrix_view.h"

namespace nestedfp::cpu {

struct AttentionArguments {
    MatrixView q;    // [tokens, heads * head_dim]
    MatrixView k;    // [tokens, kv_heads * head_dim]
    MatrixView v;    // as k
    MatrixView out;  // as q
    /// Tokens of each sequence, one after another in the rows.
    std::span<const int32_t> sequence_lengths;
    size_t heads;
    size_t kv_heads;
    size_t head_dim;
    float scale;
    /// Position i sees j with i - window < j <= i; 1 to the number of tokens.
    size_t window;
};

/// Causal attention. One query at a time reads as: score(j) = q . k(j), summed as by Implementation::tile;
/// p = exp(scale * (score - max)); out = (sum of p(j) v(j), in blocks that end at multiples of kBlockSteps
/// positions) / (sum of p).
///
/// Memory per thread: 128 bytes for each position of the longest sequence or window, 256 bytes for each
/// column of a head, and 12 KiB.
void attention(Engine& engine, const AttentionArguments& arguments);

}  // namespace nestedfp::cpu
