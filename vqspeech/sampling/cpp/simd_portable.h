// Eight lanes as two vectors of four, which GCC and Clang lower to SSE2, NEON, or plain registers.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace vqspeech {

struct Portable {
    typedef float Four __attribute__((vector_size(16)));
    typedef int32_t FourInts __attribute__((vector_size(16)));
    struct Floats {
        Four low, high;
    };
    struct Ints {
        FourInts low, high;
    };

    static Four four(float value) { return Four{value, value, value, value}; }
    static Floats zeros() { return {Four{}, Four{}}; }
    static Floats all(float value) { return {four(value), four(value)}; }
    static Floats load(const float* from) {
        Floats a;
        std::memcpy(&a, from, sizeof a);
        return a;
    }
    static void store(float* to, Floats a) { std::memcpy(to, &a, sizeof a); }
    static Floats add(Floats a, Floats b) { return {a.low + b.low, a.high + b.high}; }
    static Floats sub(Floats a, Floats b) { return {a.low - b.low, a.high - b.high}; }
    static Floats mul(Floats a, Floats b) { return {a.low * b.low, a.high * b.high}; }
    static Floats div(Floats a, Floats b) { return {a.low / b.low, a.high / b.high}; }
    static Floats min(Floats a, Floats b) {
        return {a.low < b.low ? a.low : b.low, a.high < b.high ? a.high : b.high};
    }
    static Floats max(Floats a, Floats b) {
        return {a.low > b.low ? a.low : b.low, a.high > b.high ? a.high : b.high};
    }
    static Four fma(Four a, Four b, Four c) {
#ifdef __FP_FAST_FMAF
        for (int i = 0; i < 4; ++i) c[i] = __builtin_fmaf(a[i], b[i], c[i]);
        return c;
#else
        return a * b + c;
#endif
    }
    static Floats fma(Floats a, Floats b, Floats c) {
        return {fma(a.low, b.low, c.low), fma(a.high, b.high, c.high)};
    }
    static Floats magnitude(Floats a) {
        return {a.low < 0 ? -a.low : a.low, a.high < 0 ? -a.high : a.high};
    }

    // Reinterprets bits; adds them as integers; shifts them left.
    static Ints bits(Floats a) { return {(FourInts)a.low, (FourInts)a.high}; }
    static Floats from_bits(Ints a) { return {(Four)a.low, (Four)a.high}; }
    static Ints add_ints(Ints a, Ints b) { return {a.low + b.low, a.high + b.high}; }
    template <int count>
    static Ints shift_left(Ints a) {
        typedef uint32_t Words __attribute__((vector_size(16)));
        return {(FourInts)((Words)a.low << count), (FourInts)((Words)a.high << count)};
    }

    static Ints zero_ints() { return {FourInts{}, FourInts{}}; }
    static Ints load_words(const uint32_t* from) {
        Ints a;
        std::memcpy(&a, from, sizeof a);
        return a;
    }
    static Floats to_floats(Ints a) {
        return {__builtin_convertvector(a.low, Four), __builtin_convertvector(a.high, Four)};
    }

    // Sixteen bytes as two times sixteen 16-bit numbers in 32 bits, the first of each pair and the
    // second; the pair at `from` eight times; a + (pairs of w times pairs of x).
    struct Pairs {
        Ints first, second;
    };
    static Pairs load_pairs(const int8_t* from) {
        FourInts words;
        std::memcpy(&words, from, sizeof words);
        // Four bytes of each word: a row's pair of columns, then the next row's.
        const FourInts a = words << 24 >> 24, b = words << 16 >> 24, c = words << 8 >> 24,
                       d = words >> 24;
        return {{even(a, c), odd(a, c)}, {even(b, d), odd(b, d)}};
    }
    static FourInts even(FourInts a, FourInts b) { return FourInts{a[0], b[0], a[1], b[1]}; }
    static FourInts odd(FourInts a, FourInts b) { return FourInts{a[2], b[2], a[3], b[3]}; }
    static Pairs all_pairs(const int16_t* from) {
        const int32_t a = from[0], b = from[1];
        const FourInts first{a, a, a, a}, second{b, b, b, b};
        return {{first, first}, {second, second}};
    }
    static Ints add_products(Ints a, Pairs w, Pairs x) {
        return {a.low + w.first.low * x.first.low + w.second.low * x.second.low,
                a.high + w.first.high * x.first.high + w.second.high * x.second.high};
    }
    // Rounds to nearest.
    static void store_int16(int16_t* to, Floats a) {
        for (int i = 0; i < 4; ++i) {
            to[i] = static_cast<int16_t>(std::lrintf(a.low[i]));
            to[i + 4] = static_cast<int16_t>(std::lrintf(a.high[i]));
        }
    }

    static float largest(Floats a) {
        const Four b = a.low > a.high ? a.low : a.high;
        float found = b[0];
        for (int i = 1; i < 4; ++i) found = b[i] > found ? b[i] : found;
        return found;
    }
    static float sum(Floats a) {
        const Four b = a.low + a.high;
        return (b[0] + b[2]) + (b[1] + b[3]);
    }

    static void prefetch(const void* place) { __builtin_prefetch(place); }
};

}  // namespace vqspeech
