// Eight lanes with AVX2 and FMA. Included only where the compiler may use them.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace vqspeech {

struct Avx2 {
    using Floats = __m256;
    using Ints = __m256i;

    static Floats zeros() { return _mm256_setzero_ps(); }
    static Floats all(float value) { return _mm256_set1_ps(value); }
    static Floats load(const float* from) { return _mm256_loadu_ps(from); }
    static void store(float* to, Floats a) { _mm256_storeu_ps(to, a); }
    static Floats add(Floats a, Floats b) { return _mm256_add_ps(a, b); }
    static Floats sub(Floats a, Floats b) { return _mm256_sub_ps(a, b); }
    static Floats mul(Floats a, Floats b) { return _mm256_mul_ps(a, b); }
    static Floats div(Floats a, Floats b) { return _mm256_div_ps(a, b); }
    static Floats min(Floats a, Floats b) { return _mm256_min_ps(a, b); }
    static Floats max(Floats a, Floats b) { return _mm256_max_ps(a, b); }
    static Floats fma(Floats a, Floats b, Floats c) { return _mm256_fmadd_ps(a, b, c); }
    static Floats magnitude(Floats a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.f), a); }

    // Reinterprets bits; adds them as integers; shifts them left.
    static Ints bits(Floats a) { return _mm256_castps_si256(a); }
    static Floats from_bits(Ints a) { return _mm256_castsi256_ps(a); }
    static Ints add_ints(Ints a, Ints b) { return _mm256_add_epi32(a, b); }
    template <int count>
    static Ints shift_left(Ints a) {
        return _mm256_slli_epi32(a, count);
    }

    static Ints zero_ints() { return _mm256_setzero_si256(); }
    static Ints load_words(const uint32_t* from) {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from));
    }
    static Floats to_floats(Ints a) { return _mm256_cvtepi32_ps(a); }

    // Sixteen bytes as sixteen 16-bit numbers; the pair at `from` eight times; a + (pairs of w
    // times pairs of x).
    static Ints load_pairs(const int8_t* from) {
        return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    }
    static Ints all_pairs(const int16_t* from) {
        int32_t pair;
        __builtin_memcpy(&pair, from, sizeof pair);
        return _mm256_set1_epi32(pair);
    }
    static Ints add_products(Ints a, Ints w, Ints x) {
        return _mm256_add_epi32(a, _mm256_madd_epi16(w, x));
    }
    // Rounds to nearest.
    static void store_int16(int16_t* to, Floats a) {
        const __m256i words = _mm256_cvtps_epi32(a);
        const __m128i low = _mm256_castsi256_si128(words),
                      high = _mm256_extracti128_si256(words, 1);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm_packs_epi32(low, high));
    }

    static float largest(Floats a) {
        __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
        b = _mm_max_ps(b, _mm_movehl_ps(b, b));
        return _mm_cvtss_f32(_mm_max_ss(b, _mm_shuffle_ps(b, b, 1)));
    }
    static float sum(Floats a) {
        __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
        b = _mm_add_ps(b, _mm_movehl_ps(b, b));
        return _mm_cvtss_f32(_mm_add_ss(b, _mm_shuffle_ps(b, b, 1)));
    }

    static void prefetch(const void* place) {
        _mm_prefetch(static_cast<const char*>(place), _MM_HINT_T0);
    }
};

}  // namespace vqspeech
