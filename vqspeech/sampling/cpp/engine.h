// The loops of one instruction set, behind function pointers: what the sampler calls.
#pragma once

#include <cstdint>

#include "network.h"

namespace vqspeech {

struct Duet;
struct Stream;

struct Loops {
    // Advances up to kLanes streams, none of which ends before, by so many samples.
    void (*run)(const Network&, Stream* const* streams, int count, int64_t samples);
    // The two sides of one stream on two threads.
    void (*lead)(Duet&);
    void (*help)(Duet&);
};

// Null where the compiler or the processor does not have the instructions.
const Loops* avx2_loops(Mode mode);
const Loops* portable_loops(Mode mode);

}  // namespace vqspeech
