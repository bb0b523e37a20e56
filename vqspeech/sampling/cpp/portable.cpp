// The loops for any processor.
#include "loops.h"
#include "simd_portable.h"

namespace vqspeech {
const Loops* portable_loops(Mode mode) {
    return loops<Portable>(mode);
}
}  // namespace vqspeech
