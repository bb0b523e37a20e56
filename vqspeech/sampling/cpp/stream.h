// One sequence of levels being drawn: what it is given, what it remembers, what it has drawn.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "gate.h"
#include "network.h"

namespace vqspeech {

// Memory aligned to cache lines, zero at first.
class Memory {
  public:
    explicit Memory(size_t bytes);
    template <class T>
    T* as() const {
        return reinterpret_cast<T*>(bytes_.get());
    }

  private:
    struct Release {
        void operator()(std::byte* memory) const;
    };
    std::unique_ptr<std::byte[], Release> bytes_;
};

// What a stream is asked for. The pointers stay the caller's.
struct Task {
    const float* frames;            // (frames, condition channels)
    int hop;                        // samples a frame
    const int64_t* lags = nullptr;  // (frames,): samples of a pitch period; for pitch taps
    const float* uniforms;          // (samples,)
    const int32_t* given =
        nullptr;               // (samples,): the level before each sample, instead of the one drawn
    int32_t* drawn = nullptr;  // (samples,); none where levels are given
    float* logits = nullptr;   // (samples, levels), or none
    int64_t samples;
    Choice choice;
};

// Inputs that a layer's dilation still needs, at the values' precision, with their scales.
struct Ring {
    Memory values, scales;
    int64_t position = 0;  // time modulo dilation
};

// Sums of the past tap for the moments [begin, end): a moment's past is known `dilation` samples
// ahead.
struct Partial {
    Memory sums;  // (kLanes, 2 half)
    int64_t begin = 0, end = 0;
};

struct Stream {
    Stream(const Network& network, const Task& task);

    bool finished() const { return time >= task.samples; }

    Task task;
    int64_t time = 0;
    int32_t level;                  // the one before `time`
    int64_t frame = -1;             // the one whose condition is projected
    std::vector<Ring> rings;        // one a layer
    std::vector<Partial> partials;  // one a layer
    Memory condition;               // (layers, 2 half)
    Memory x, x_values;             // (residual,): the residual path, and at the values' precision
    float x_scale = 1;
    Memory gates;                  // (layers, half) values
    Memory hidden, hidden_values;  // (skip,) twice: after each relu
    Memory logits;                 // (outputs,)
    std::vector<int> order;        // room for `choose`
};

}  // namespace vqspeech
