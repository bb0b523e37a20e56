// Streams and the threads that advance them.
#pragma once

#include <memory>
#include <vector>

#include "engine.h"
#include "stream.h"

namespace vqspeech {

class Sampler {
  public:
    // The network outlives the sampler. A stream that is alone gets a second thread where `helped`:
    // of use only while no other work wants that core.
    Sampler(const Network& network, const Loops& loops, int threads, bool helped = true);

    void add(const Task& task);

    // Advances every stream that has begun by up to so many samples; at most kLanes a thread have
    // begun, the first added first.
    void advance(int64_t samples);

    // Samples of a stream that are done.
    int64_t time(size_t stream) const { return times_[stream]; }

  private:
    void run_group(std::vector<Stream*> group, int64_t samples) const;
    void run_two_threads(Stream& stream, int64_t samples) const;

    const Network& network_;
    const Loops& loops_;
    int threads_;
    bool helped_;
    std::vector<Task> tasks_;
    std::vector<std::unique_ptr<Stream>> streams_;  // null before it begins and after it ends
    std::vector<int64_t> times_;
    std::vector<size_t> active_;
    size_t next_ = 0;
};

}  // namespace vqspeech
