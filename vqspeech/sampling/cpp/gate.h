// What happens to a vector element by element: the gate, the softmax and the draw.
//
// All functions are templates of the instruction set, those that do not need it too: a plain inline
// function would be compiled for each set under one name, and the linker would keep any of them.
#pragma once

namespace vqspeech {

// 2^x for x from -126 to 127, to 2e-7 of its value: exponent by shifting, minimax polynomial for
// the rest.
template <class Isa>
inline typename Isa::Floats exp2(typename Isa::Floats x) {
    const auto shift = Isa::all(12582912.f);  // 1.5 * 2^23: adding it rounds to a whole number
    const auto shifted = Isa::add(x, shift);
    const auto rest = Isa::sub(x, Isa::sub(shifted, shift));
    auto power = Isa::all(1.32764725e-3f);
    power = Isa::fma(power, rest, Isa::all(9.67554096e-3f));
    power = Isa::fma(power, rest, Isa::all(5.55071309e-2f));
    power = Isa::fma(power, rest, Isa::all(2.40221202e-1f));
    power = Isa::fma(power, rest, Isa::all(6.93146944e-1f));
    power = Isa::fma(power, rest, Isa::all(1.00000012f));
    return Isa::from_bits(
        Isa::add_ints(Isa::bits(power), Isa::template shift_left<23>(Isa::bits(shifted))));
}

// What the pre-activations of filter and gate are multiplied by when weights are packed: exp2 then
// needs no factor.
constexpr float kFilterFactor = -2.88539008f;  // -2 log2(e)
constexpr float kGateFactor = -1.44269504f;    // -log2(e)

// tanh(a) * sigmoid(b) with one division, a and b multiplied by the factors above: (1 - u) / ((1 +
// u) (1 + v)) where u = exp(-2 a) and v = exp(-b).
template <class Isa>
inline typename Isa::Floats gate(typename Isa::Floats a, typename Isa::Floats b) {
    const auto low = Isa::all(-60.f), high = Isa::all(60.f), one = Isa::all(1.f);
    const auto u = exp2<Isa>(Isa::max(Isa::min(a, high), low));
    const auto v = exp2<Isa>(Isa::max(Isa::min(b, high), low));
    return Isa::div(Isa::sub(one, u), Isa::mul(Isa::add(one, u), Isa::add(one, v)));
}

// How a level is drawn from logits.
struct Choice {
    float inverse_temperature;  // negative: the likeliest level
    float top_p;
};

// Zeroes all weights but the fewest, heaviest first, that hold `top_p` of `total`; returns what
// they hold. Of equal weights the lower level is the heavier. `order` is room for `levels` numbers.
template <class Isa>
inline float keep_nucleus(float* weights, int levels, float total, float top_p, int* order) {
    for (int i = 0; i < levels; ++i) order[i] = i;
    const auto heavier = [&](int i, int j) {
        return weights[i] > weights[j] || (weights[i] == weights[j] && i < j);
    };
    // A heap gives the heaviest one by one: a nucleus is mostly small.
    const auto sink = [&](int at, int size) {
        for (int child; (child = 2 * at + 1) < size; at = child) {
            if (child + 1 < size && heavier(order[child + 1], order[child])) ++child;
            if (!heavier(order[child], order[at])) return;
            const int swapped = order[at];
            order[at] = order[child];
            order[child] = swapped;
        }
    };
    for (int at = levels / 2; at-- > 0;) sink(at, levels);
    float kept = 0;
    int left = levels;
    while (left > 0 && kept < top_p * total) {
        kept += weights[order[0]];
        const int taken = order[0];
        order[0] = order[--left];
        order[left] = taken;
        sink(0, left);
    }
    for (int i = 0; i < left; ++i) weights[order[i]] = 0;
    return kept;
}

// Inverts the cumulative distribution of `logits` at `uniform`; `logits` are used up. They are
// padded with room to a multiple of eight; `order` is room for `levels` numbers.
template <class Isa>
inline int choose(float* logits, int levels, float uniform, Choice choice, int* order) {
    const int padded = (levels + 7) / 8 * 8;
    for (int level = levels; level < padded; ++level) logits[level] = logits[0];
    auto highest = Isa::load(logits);
    for (int i = 8; i < padded; i += 8) highest = Isa::max(highest, Isa::load(logits + i));
    const float top = Isa::largest(highest);
    if (choice.inverse_temperature < 0) {
        int level = 0;
        while (level < levels - 1 && !(logits[level] >= top)) ++level;
        return level;
    }
    const auto factor = Isa::all(choice.inverse_temperature * 1.44269504f);
    // What is too unlikely for a float becomes 0, so that a uniform number of 0 does not draw it.
    const auto never = Isa::all(-126.f), least = exp2<Isa>(never);
    float total = 0;
    for (int i = 0; i < padded; i += 8) {
        const auto power = Isa::mul(Isa::sub(Isa::load(logits + i), Isa::all(top)), factor);
        Isa::store(logits + i, Isa::sub(exp2<Isa>(Isa::max(power, never)), least));
        if (i + 8 > levels)
            for (int level = levels; level < padded; ++level) logits[level] = 0;
        total += Isa::sum(Isa::load(logits + i));
    }
    if (choice.top_p < 1) total = keep_nucleus<Isa>(logits, levels, total, choice.top_p, order);
    const float wanted = uniform * total;
    float before = 0, running = 0;
    int block = 0;
    for (int i = 0; i < padded && running <= wanted; i += 8) {
        const float eight = Isa::sum(Isa::load(logits + i));
        if (eight <= 0) continue;
        block = i;
        before = running;
        running += eight;
    }
    // Rounding can leave the eight one by one below what their sum is above: then the last that can
    // be is drawn.
    int drawn = 0;
    for (int level = block; level < block + 8; ++level) {
        if (logits[level] <= 0) continue;
        drawn = level;
        before += logits[level];
        if (before > wanted) break;
    }
    return drawn;
}

}  // namespace vqspeech
