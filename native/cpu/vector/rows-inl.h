// The weights of one row, 32 at a time, for each loader. Included after Vec and its operations, which give
// Words (32 binary16 words), words_of_halves, words_of_upper, words_of_planes and floats_of.

/// Far enough ahead that a line of the next page arrives in time; the hardware's own prefetch ends with a
/// page.
constexpr size_t kPrefetchBytes = 2048;

class HalfRow {
   public:
    HalfRow() = default;
    HalfRow(const WeightView& weights, size_t row) : words_(weights.bytes + 2 * row * weights.cols) {}

    void prefetch(size_t k) const { prefetch_line(words_ + 2 * k + kPrefetchBytes); }
    Pair at(size_t k) const { return floats_of(words_of_halves(words_ + 2 * k)); }
    /// Zeros after `count`.
    Pair part(size_t k, size_t count) const {
        uint8_t copy[2 * kDotStep] = {};
        std::memcpy(copy, words_ + 2 * k, 2 * count);
        return floats_of(words_of_halves(copy));
    }

   private:
    const uint8_t* words_ = nullptr;
};

class NestedHalfRow {
   public:
    NestedHalfRow() = default;
    NestedHalfRow(const WeightView& weights, size_t row)
        : upper_(weights.bytes + row * weights.cols),
          lower_(weights.lower + row * weights.cols),
          up_(set1(codec::power_of_two(weights.shift(row)))) {}

    void prefetch(size_t k) const {
        prefetch_line(upper_ + k + kPrefetchBytes / 2);
        prefetch_line(lower_ + k + kPrefetchBytes / 2);
    }
    Pair at(size_t k) const { return values_of(upper_ + k, lower_ + k); }
    Pair part(size_t k, size_t count) const {
        uint8_t upper[kDotStep] = {};
        uint8_t lower[kDotStep] = {};
        std::memcpy(upper, upper_ + k, count);
        std::memcpy(lower, lower_ + k, count);
        return values_of(upper, lower);
    }

   private:
    Pair values_of(const uint8_t* upper, const uint8_t* lower) const {
        const Pair halves = floats_of(words_of_planes(upper, lower));
        return {multiply(halves.low, up_), multiply(halves.high, up_)};
    }

    const uint8_t* upper_ = nullptr;
    const uint8_t* lower_ = nullptr;
    Vec up_ = zero();
};

class Fp8Row {
   public:
    Fp8Row() = default;
    Fp8Row(const WeightView& weights, size_t row) : bytes_(weights.bytes + row * weights.cols) {}

    void prefetch(size_t k) const { prefetch_line(bytes_ + k + kPrefetchBytes / 2); }
    Pair at(size_t k) const { return floats_of(words_of_upper(bytes_ + k)); }
    Pair part(size_t k, size_t count) const {
        uint8_t copy[kDotStep] = {};
        std::memcpy(copy, bytes_ + k, count);
        return floats_of(words_of_upper(copy));
    }

   private:
    const uint8_t* bytes_ = nullptr;
};

class NestedFp8Row {
   public:
    NestedFp8Row() = default;
    NestedFp8Row(const WeightView& weights, size_t row)
        : upper_(weights, row), up_(set1(codec::power_of_two(weights.shift(row)))) {}

    void prefetch(size_t k) const { upper_.prefetch(k); }
    Pair at(size_t k) const { return shifted(upper_.at(k)); }
    Pair part(size_t k, size_t count) const { return shifted(upper_.part(k, count)); }

   private:
    Pair shifted(Pair values) const { return {multiply(values.low, up_), multiply(values.high, up_)}; }

    Fp8Row upper_;
    Vec up_ = zero();
};
