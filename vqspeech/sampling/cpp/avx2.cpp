// The loops for x86 processors with AVX2 and FMA, compiled for them whatever the rest is compiled
// for.
#include "engine.h"

#if defined(__x86_64__)

// Before the pragma: what the library defines must stay usable on every processor.
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
const Loops* avx2_loops(Mode mode) {
    const bool here = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return here ? chosen(mode) : nullptr;
}
}  // namespace vqspeech

#else

namespace vqspeech {
const Loops* avx2_loops(Mode) {
    return nullptr;
}
}  // namespace vqspeech

#endif
