// The loops for x86 processors with AVX2 and FMA, compiled for them whatever the rest is compiled
// for.
#include "engine.h"

#if defined(__x86_64__)

// Before the pragma: what the library defines must stay usable on every processor.
#include <cpuid.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif

#include "loops.h"
#include "simd_avx2.h"

namespace vqspeech {
namespace {
const Loops* chosen(Mode mode) {
    return loops<Avx2>(mode);
}
}  // namespace
}  // namespace vqspeech

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

namespace vqspeech {
namespace {
// What __builtin_cpu_supports says where the compiler's own library knows; Zig's does not.
bool has_avx2_and_fma() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    constexpr unsigned kWanted = bit_FMA | bit_AVX | bit_OSXSAVE;
    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & kWanted) != kWanted) return false;
    // The system saves both halves of the registers.
    unsigned low = 0, high = 0;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (low & 6) == 6 && __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_AVX2) != 0;
}
}  // namespace

const Loops* avx2_loops(Mode mode) {
    return has_avx2_and_fma() ? chosen(mode) : nullptr;
}
}  // namespace vqspeech

#else

namespace vqspeech {
const Loops* avx2_loops(Mode) {
    return nullptr;
}
}  // namespace vqspeech

#endif
