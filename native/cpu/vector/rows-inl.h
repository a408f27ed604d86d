// The weights of one row, 32 at a time, for each loader. Included by avx2.cc and avx512.cc inside their
// target region, after Vec and its operations.

constexpr size_t kLineBytes = 64;

/// How far the dot kernel prefetches: some pages, as four rows advance at a time, the hardware's own prefetch
/// ends with a page, and farther is no slower. Tuned by gemm_bench.
constexpr size_t kPrefetchBytes = 16384;

/// The values of words for as many tokens; 0: for a panel.
template <int kTokens>
Pair floats_for(Words words) {
    if constexpr (kTokens == 1) return floats_of_once(words);
    return floats_of(words);
}

/// binary16 words.
class HalfRow {
   public:
    HalfRow() = default;
    HalfRow(const WeightView& weights, size_t row) : words_(weights.bytes + 2 * row * weights.cols) {}

    static constexpr size_t kPrefetchColumns = kPrefetchBytes / 2;
    /// Columns k to k + 63, which may lie outside the weights.
    void prefetch(size_t k) const {
        prefetch_line(words_ + 2 * k);
        prefetch_line(words_ + 2 * k + kLineBytes);
    }
    /// Columns k to k + 31, for as many tokens as floats_for() says.
    template <int kTokens = 0>
    Pair at(size_t k) const {
        return floats_of(words_of_halves(words_ + 2 * k));
    }
    /// `count` columns from k on, then zeros.
    Pair part(size_t k, size_t count) const {
        uint8_t copy[2 * kDotStep] = {};
        std::memcpy(copy, words_ + 2 * k, 2 * count);
        return floats_of(words_of_halves(copy));
    }

   private:
    const uint8_t* words_ = nullptr;
};

/// Both planes, without the row's shift.
class PlaneRow {
   public:
    PlaneRow() = default;
    PlaneRow(const WeightView& weights, size_t row)
        : upper_(weights.bytes + row * weights.cols), lower_(weights.lower + row * weights.cols) {}

    static constexpr size_t kPrefetchColumns = kPrefetchBytes;
    void prefetch(size_t k) const {
        prefetch_line(upper_ + k);
        prefetch_line(lower_ + k);
    }
    template <int kTokens = 0>
    Pair at(size_t k) const {
        return floats_for<kTokens>(words_of_planes(upper_ + k, lower_ + k));
    }
    Pair part(size_t k, size_t count) const {
        uint8_t upper[kDotStep] = {};
        uint8_t lower[kDotStep] = {};
        std::memcpy(upper, upper_ + k, count);
        std::memcpy(lower, lower_ + k, count);
        return floats_of(words_of_planes(upper, lower));
    }

   private:
    const uint8_t* upper_ = nullptr;
    const uint8_t* lower_ = nullptr;
};

/// E4M3 bytes times 2^-8: FP8 weights without their scale, the upper plane without the row's shift.
class Fp8Row {
   public:
    Fp8Row() = default;
    Fp8Row(const WeightView& weights, size_t row) : bytes_(weights.bytes + row * weights.cols) {}

    static constexpr size_t kPrefetchColumns = kPrefetchBytes;
    void prefetch(size_t k) const { prefetch_line(bytes_ + k); }
    template <int kTokens = 0>
    Pair at(size_t k) const {
        return floats_for<kTokens>(words_of_upper(bytes_ + k));
    }
    Pair part(size_t k, size_t count) const {
        uint8_t copy[kDotStep] = {};
        std::memcpy(copy, bytes_ + k, count);
        return floats_of(words_of_upper(copy));
    }

   private:
    const uint8_t* bytes_ = nullptr;
};

/// The same times 2^s.
template <typename Row>
class Shifted {
   public:
    Shifted() = default;
    Shifted(const WeightView& weights, size_t row)
        : row_(weights, row), up_(set1(codec::power_of_two(weights.shift(row)))) {}

    static constexpr size_t kPrefetchColumns = Row::kPrefetchColumns;
    void prefetch(size_t k) const { row_.prefetch(k); }
    template <int kTokens = 0>
    Pair at(size_t k) const {
        return times_up(row_.template at<kTokens>(k));
    }
    Pair part(size_t k, size_t count) const { return times_up(row_.part(k, count)); }

   private:
    Pair times_up(Pair values) const { return {multiply(values.low, up_), multiply(values.high, up_)}; }

    Row row_;
    Vec up_ = zero();
};

bool any_shift(const WeightView& weights, size_t first, size_t rows) {
    for (size_t n = 0; n < rows; ++n) {
        if (weights.shift(first + n) != 0) return true;
    }
    return false;
}
