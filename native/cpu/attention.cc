#include "cpu/attention.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

namespace nestedfp::cpu {
namespace {

/// Queries first .. first + count - 1 (positions in their sequence) of one head. `row` is that of position 0.
struct QueryTile {
    size_t row;
    size_t head;
    size_t first;
    size_t count;
    size_t width;  // count rounded up to what the tile kernel takes

    size_t end() const { return first + count; }
};

/// Where the parts of a thread's memory begin.
struct Plan {
    size_t width;
    size_t head_dim;
    size_t positions;

    size_t queries() const { return 0; }
    size_t panel() const { return head_dim * width; }
    size_t out() const { return panel() + kPanelRows * kBlockSteps; }
    size_t sums() const { return out() + head_dim * width; }
    size_t scores() const { return sums() + width; }
    size_t size() const { return scores() + positions * width; }

    static constexpr size_t kPanelRows = 12;
};

class TileWorker {
   public:
    TileWorker(const Engine& engine, const AttentionArguments& arguments, const Plan& plan,
               const QueryTile& tile, float* memory)
        : kernels_(engine.kernels),
          arguments_(arguments),
          tile_(tile),
          begin_(tile.first + 1 > arguments.window ? tile.first + 1 - arguments.window : 0),
          queries_(memory + plan.queries()),
          panel_(memory + plan.panel()),
          out_(memory + plan.out()),
          sums_(memory + plan.sums()),
          scores_(memory + plan.scores()) {}

    void run() {
        const size_t head_dim = arguments_.head_dim;
        const MatrixView& q = arguments_.q;
        kernels_.pack(q.row(tile_.row + tile_.first) + tile_.head * head_dim, q.stride, nullptr, tile_.count,
                      head_dim, tile_.width, queries_);
        score();
        mask();
        kernels_.softmax(scores_, tile_.end() - begin_, tile_.width, arguments_.scale, sums_);
        weigh();
        kernels_.divide(out_, head_dim, tile_.width, sums_);
        const MatrixView& out = arguments_.out;
        kernels_.unpack(out_, tile_.width, head_dim, tile_.count,
                        out.row(tile_.row + tile_.first) + tile_.head * head_dim, out.stride);
    }

   private:
    const float* at(const MatrixView& matrix, size_t position) const {
        const size_t kv_head = tile_.head * arguments_.kv_heads / arguments_.heads;
        return matrix.row(tile_.row + position) + kv_head * arguments_.head_dim;
    }

    /// scores[j - begin, query] = q . k(j)
    void score() {
        for (size_t j = begin_; j < tile_.end(); j += Plan::kPanelRows) {
            const size_t rows = std::min(Plan::kPanelRows, tile_.end() - j);
            for (size_t step = 0; step < arguments_.head_dim; step += kBlockSteps) {
                const size_t steps = std::min(kBlockSteps, arguments_.head_dim - step);
                for (size_t n = 0; n < rows; ++n) {
                    std::memcpy(panel_ + n * kBlockSteps, at(arguments_.k, j + n) + step,
                                steps * sizeof(float));
                }
                kernels_.tile(panel_, rows, queries_ + step * tile_.width, tile_.width, steps,
                              scores_ + (j - begin_) * tile_.width, tile_.width, step != 0);
            }
        }
    }

    void mask() {
        const float never = -std::numeric_limits<float>::infinity();
        for (size_t t = 0; t < tile_.count; ++t) {
            const size_t i = tile_.first + t;
            const size_t least = i + 1 > arguments_.window ? i + 1 - arguments_.window : 0;
            for (size_t j = begin_; j < least; ++j) scores_[(j - begin_) * tile_.width + t] = never;
            for (size_t j = i + 1; j < tile_.end(); ++j) scores_[(j - begin_) * tile_.width + t] = never;
        }
    }

    /// out[column, query] = sum of p(j) v(j)
    void weigh() {
        size_t steps = 0;
        for (size_t j = begin_; j < tile_.end(); j += steps) {
            steps = std::min(kBlockSteps - j % kBlockSteps, tile_.end() - j);
            kernels_.tile_columns(at(arguments_.v, j), arguments_.v.stride, arguments_.head_dim,
                                  scores_ + (j - begin_) * tile_.width, tile_.width, steps, out_, tile_.width,
                                  j != begin_);
        }
    }

    const Implementation& kernels_;
    const AttentionArguments& arguments_;
    const QueryTile& tile_;
    const size_t begin_;
    float* queries_;
    float* panel_;
    float* out_;
    float* sums_;
    float* scores_;
};

std::vector<QueryTile> tiles_of(const AttentionArguments& arguments, size_t tile_tokens) {
    std::vector<QueryTile> tiles;
    size_t row = 0;
    for (const int32_t length : arguments.sequence_lengths) {
        const auto tokens = static_cast<size_t>(length);
        for (size_t first = 0; first < tokens; first += tile_tokens) {
            const size_t count = std::min(tile_tokens, tokens - first);
            const size_t width = count <= kLanes ? kLanes : tile_tokens;
            for (size_t head = 0; head < arguments.heads; ++head) {
                tiles.push_back({row, head, first, count, width});
            }
        }
        row += tokens;
    }
    return tiles;
}

}  // namespace

void attention(Engine& engine, const AttentionArguments& arguments) {
    const size_t width = engine.kernels.tile_tokens;
    const std::vector<QueryTile> tiles = tiles_of(arguments, width);
    size_t positions = 0;
    for (const QueryTile& tile : tiles) {
        positions = std::max(positions, std::min(tile.end(), arguments.window + width));
    }
    const Plan plan{width, arguments.head_dim, positions};
    engine.reserve_per_thread(plan.size());
    engine.team.run(tiles.size(), [&](size_t piece, size_t thread) {
        // The last tiles see the most positions: they come first, so that no thread is left with one at the
        // end.
        const QueryTile& tile = tiles[tiles.size() - 1 - piece];
        TileWorker(engine, arguments, plan, tile, engine.of_thread(thread)).run();
    });
}

}  // namespace nestedfp::cpu
