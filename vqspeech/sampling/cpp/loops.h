// Makes the loops of an instruction set; included once for each.
#pragma once

#include "duet.h"
#include "engine.h"

namespace vqspeech {

template <class Isa, template <class> class Arithmetic>
constexpr Loops kLoops = {&Steps<Isa, Arithmetic>::run, &DuetSteps<Isa, Arithmetic>::lead,
                          &DuetSteps<Isa, Arithmetic>::help};

template <class Isa>
const Loops* loops(Mode mode) {
    switch (mode) {
        case Mode::fp32:
            return &kLoops<Isa, Fp32>;
        case Mode::bf16:
            return &kLoops<Isa, Bf16>;
        case Mode::int8:
            return &kLoops<Isa, Int8>;
    }
    return nullptr;
}

}  // namespace vqspeech
