// Streams and the threads that advance them.
#pragma once

#include <memory>
#include <vector>

#include "engine.h"
#include "stream.h"
#include "trial.h"

namespace vqspeech {

// Whether a stream that is alone gets a second thread: never, for as long as it is measured to pay,
// or always.
enum class Help { never, measured, always };

class Sampler {
  public:
    Sampler(std::shared_ptr<const Network> network, const Loops& loops, int threads,
            Help help = Help::measured);

    void add(const Task& task);

    // Advances every stream that has begun by up to so many samples; at most kLanes a thread have
    // begun, the first added first.
    void advance(int64_t samples);

    // Samples of a stream that are done.
    int64_t time(size_t stream) const { return times_[stream]; }

  private:
    void run_group(std::vector<Stream*> group, int64_t samples) const;
    void run_helped(const std::shared_ptr<Stream>& stream, int64_t samples) const;
    void run_measured(const std::shared_ptr<Stream>& stream, int64_t samples);

    // Shared with helpers that have been given up and wait for a core to end on.
    const std::shared_ptr<const Network> network_;
    const Loops& loops_;
    int threads_;
    Help help_;
    Trial trial_;
    std::vector<Task> tasks_;
    std::vector<std::shared_ptr<Stream>> streams_;  // null before it begins and after it ends
    std::vector<int64_t> times_;
    std::vector<size_t> active_;
    size_t next_ = 0;
};

}  // namespace vqspeech
