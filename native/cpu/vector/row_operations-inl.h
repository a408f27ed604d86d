// Included by avx2.cc and avx512.cc inside their target region, after Vec and its operations. scalar.cc says
// what each function computes.

float max_magnitude(const float* x, size_t count) {
    Vec most = zero();
    size_t k = 0;
    for (; k + kLanes <= count; k += kLanes) most = larger_bits(most, magnitude(load(x + k)));
    if (k < count) most = larger_bits(most, magnitude(load_part(x + k, count - k)));
    float lanes[kLanes];
    store(lanes, most);
    uint32_t bits = 0;
    for (const float lane : lanes) bits = std::max(bits, std::bit_cast<uint32_t>(lane));
    return std::bit_cast<float>(bits);
}

void to_half(const float* x, size_t count, uint16_t* words) {
    size_t k = 0;
    for (; k + kLanes <= count; k += kLanes) store_halves(words + k, load(x + k));
    if (k < count) {
        uint16_t part[kLanes];
        store_halves(part, load_part(x + k, count - k));
        std::memcpy(words + k, part, (count - k) * sizeof(uint16_t));
    }
}

void rms_norm(const float* x, const float* weight, size_t count, float eps, float* out) {
    Vec squares = zero();
    size_t k = 0;
    for (; k + kLanes <= count; k += kLanes) {
        const Vec value = load(x + k);
        squares = multiply_add(value, value, squares);
    }
    if (k < count) {
        const Vec value = load_part(x + k, count - k);
        squares = multiply_add(value, value, squares);
    }
    const float mean = sum_of_lanes(squares) / static_cast<float>(count);
    const Vec inverse = set1(1 / std::sqrt(mean + eps));
    for (k = 0; k + kLanes <= count; k += kLanes) {
        store(out + k, multiply(multiply(load(x + k), inverse), load(weight + k)));
    }
    if (k < count) {
        const Vec value = multiply(load_part(x + k, count - k), inverse);
        store_part(out + k, multiply(value, load_part(weight + k, count - k)), count - k);
    }
}

void rope(float* x, size_t half, const float* cos, const float* sin) {
    for (size_t k = 0; k < half; k += kLanes) {
        const size_t left = std::min(half - k, kLanes);
        const Vec first = load_part(x + k, left);
        const Vec second = load_part(x + half + k, left);
        const Vec cos_at = load_part(cos + k, left);
        const Vec sin_at = load_part(sin + k, left);
        store_part(x + k, subtract(multiply(first, cos_at), multiply(second, sin_at)), left);
        store_part(x + half + k, add(multiply(second, cos_at), multiply(first, sin_at)), left);
    }
}

Vec exponential(Vec x) {
    using namespace exp_constants;
    const Vec shifted = multiply_add(x, set1(kLog2E), set1(kRound));
    const Vec n = subtract(shifted, set1(kRound));
    const Vec r = multiply_add(n, set1(-kLn2Low), multiply_add(n, set1(-kLn2High), x));
    Vec p = set1(kP[0]);
    for (size_t at = 1; at < std::size(kP); ++at) p = multiply_add(p, r, set1(kP[at]));
    const Vec result = add(multiply_add(p, multiply(r, r), r), set1(1));
    const Vec scaled = multiply(result, power_of_two(shifted));
    const Vec bounded = where_less(set1(kMost), x, set1(std::numeric_limits<float>::infinity()), scaled);
    return where_less(x, set1(kLeast), zero(), bounded);
}

Vec silu_mul_of(Vec gate, Vec up) {
    const Vec denominator = add(set1(1), exponential(negate(gate)));
    return multiply(divide(gate, denominator), up);
}

void silu_mul(const float* gate, const float* up, size_t count, float* out) {
    size_t k = 0;
    for (; k + kLanes <= count; k += kLanes) store(out + k, silu_mul_of(load(gate + k), load(up + k)));
    if (k < count) {
        const size_t left = count - k;
        store_part(out + k, silu_mul_of(load_part(gate + k, left), load_part(up + k, left)), left);
    }
}

void add(float* x, const float* y, size_t count) {
    size_t k = 0;
    for (; k + kLanes <= count; k += kLanes) store(x + k, add(load(x + k), load(y + k)));
    if (k < count) {
        const size_t left = count - k;
        store_part(x + k, add(load_part(x + k, left), load_part(y + k, left)), left);
    }
}

void softmax(float* scores, size_t count, size_t width, float scale, float* sums) {
    for (size_t t = 0; t < width; t += kLanes) {
        Vec most = set1(-std::numeric_limits<float>::infinity());
        for (size_t k = 0; k < count; ++k) most = larger(most, load(scores + k * width + t));
        Vec sum = zero();
        for (size_t k = 0; k < count; ++k) {
            float* score = scores + k * width + t;
            const Vec p = exponential(multiply(subtract(load(score), most), set1(scale)));
            store(score, p);
            sum = add(sum, p);
        }
        store(sums + t, sum);
    }
}

void divide(float* x, size_t count, size_t width, const float* sums) {
    for (size_t k = 0; k < count; ++k) {
        for (size_t t = 0; t < width; t += kLanes) {
            store(x + k * width + t, divide(load(x + k * width + t), load(sums + t)));
        }
    }
}

float largest(const float* x, size_t count) {
    const float least = -std::numeric_limits<float>::infinity();
    Vec most = set1(least);
    size_t k = 0;
    for (; k + kLanes <= count; k += kLanes) most = larger(most, load(x + k));
    float lanes[kLanes];
    store(lanes, most);
    float result = least;
    for (const float lane : lanes) result = result > lane ? result : lane;
    for (; k < count; ++k) result = result > x[k] ? result : x[k];
    return result;
}

ExpSum exp_sum(const float* x, size_t count) {
    const float max = largest(x, count);
    Doubles sums = widened(zero());
    size_t k = 0;
    for (; k + kLanes <= count; k += kLanes) {
        sums = add(sums, widened(exponential(subtract(load(x + k), set1(max)))));
    }
    if (k < count) {
        const size_t left = count - k;
        const Vec part = exponential(subtract(load_part(x + k, left), set1(max)));
        sums = add(sums, widened(first_lanes(part, left)));
    }
    return {max, sum_of_lanes(sums)};
}

double weighted_difference(const float* reference, const float* x, size_t count, float max) {
    Doubles sums = widened(zero());
    for (size_t k = 0; k < count; k += kLanes) {
        const size_t left = std::min(count - k, kLanes);
        const Vec from = load_part(reference + k, left);
        const Vec p = first_lanes(exponential(subtract(from, set1(max))), left);
        const Doubles difference = subtract(widened(from), widened(load_part(x + k, left)));
        sums = add(sums, multiply(widened(p), difference));
    }
    return sum_of_lanes(sums);
}
