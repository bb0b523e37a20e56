// Eight lanes as vectors that GCC and Clang lower to what the machine has: SSE2, NEON, or plain
// registers.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

namespace vqspeech {

struct Portable {
    typedef float Floats __attribute__((vector_size(32)));
    typedef int32_t Ints __attribute__((vector_size(32)));

    static Floats zeros() { return Floats{}; }
    static Floats all(float value) { return Floats{} + value; }
    static Floats load(const float* from) {
        Floats a;
        std::memcpy(&a, from, sizeof a);
        return a;
    }
    static void store(float* to, Floats a) { std::memcpy(to, &a, sizeof a); }
    static Floats add(Floats a, Floats b) { return a + b; }
    static Floats sub(Floats a, Floats b) { return a - b; }
    static Floats mul(Floats a, Floats b) { return a * b; }
    static Floats div(Floats a, Floats b) { return a / b; }
    static Floats min(Floats a, Floats b) { return a < b ? a : b; }
    static Floats max(Floats a, Floats b) { return a > b ? a : b; }
    static Floats fma(Floats a, Floats b, Floats c) {
#ifdef __FP_FAST_FMAF
        for (int i = 0; i < 8; ++i) c[i] = __builtin_fmaf(a[i], b[i], c[i]);
        return c;
#else
        return a * b + c;
#endif
    }
    static Floats magnitude(Floats a) { return a < 0 ? -a : a; }

    // Reinterprets bits; adds them as integers; shifts them left.
    static Ints bits(Floats a) { return (Ints)a; }
    static Floats from_bits(Ints a) { return (Floats)a; }
    static Ints add_ints(Ints a, Ints b) { return a + b; }
    template <int count>
    static Ints shift_left(Ints a) {
        typedef uint32_t Words __attribute__((vector_size(32)));
        return (Ints)((Words)a << count);
    }

    static Ints zero_ints() { return Ints{}; }
    static Ints load_words(const uint32_t* from) {
        Ints a;
        std::memcpy(&a, from, sizeof a);
        return a;
    }
    static Floats to_floats(Ints a) { return __builtin_convertvector(a, Floats); }

    // Sixteen bytes as sixteen 16-bit numbers; the pair at `from` eight times; a + (pairs of w
    // times pairs of x).
    typedef int16_t Pairs __attribute__((vector_size(32)));
    static Pairs load_pairs(const int8_t* from) {
        typedef int8_t Bytes __attribute__((vector_size(16)));
        Bytes bytes;
        std::memcpy(&bytes, from, sizeof bytes);
        return __builtin_convertvector(bytes, Pairs);
    }
    static Pairs all_pairs(const int16_t* from) {
        int32_t pair;
        std::memcpy(&pair, from, sizeof pair);
        return (Pairs)(Ints{} + pair);
    }
    static Ints add_products(Ints a, Pairs w, Pairs x) {
        for (int i = 0; i < 8; ++i) a[i] += w[2 * i] * x[2 * i] + w[2 * i + 1] * x[2 * i + 1];
        return a;
    }
    // Rounds to nearest.
    static void store_int16(int16_t* to, Floats a) {
        for (int i = 0; i < 8; ++i) to[i] = static_cast<int16_t>(std::lrintf(a[i]));
    }

    static float largest(Floats a) {
        float found = a[0];
        for (int i = 1; i < 8; ++i) found = a[i] > found ? a[i] : found;
        return found;
    }
    static float sum(Floats a) {
        return ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]));
    }

    static void prefetch(const void* place) { __builtin_prefetch(place); }
};

}  // namespace vqspeech
