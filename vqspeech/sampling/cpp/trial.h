// Whether a second thread on one stream pays, by what is measured while the stream is drawn.
#pragma once

#include <cstdint>

namespace vqspeech {

// Pieces are drawn alone and helped in turn, and the faster way goes on. Another trial follows at
// once when helped pieces turn out slower than those alone were, else after about a second: a
// helper is gone within a tenth of a second of losing its core, and comes back when that is free.
class Trial {
  public:
    // How the next piece is to be drawn, and how many samples it has at most.
    bool helped() const { return left_ > 0 ? left_ % 2 == 1 : pays_; }
    int64_t most() const { return left_ > 0 ? kPiece : kPause; }

    // What the piece took: processor time of the main thread, which grows while it waits for the
    // helper and does not while other work has its core.
    void took(int64_t samples, double seconds) {
        if (left_ > 0) {
            seconds_[helped()] += seconds;
            samples_[helped()] += samples;
            if (--left_ > 0) return;
            pays_ = seconds_[1] * kGain * samples_[0] < seconds_[0] * samples_[1];
            pause_ = kPause;
        } else {
            pause_ -= samples;
            const bool slower = pays_ && seconds * samples_[0] > seconds_[0] * samples;
            if (slower || pause_ <= 0) *this = Trial();
        }
    }

  private:
    static constexpr int kPieces = 6;           // of a trial, half of them helped
    static constexpr int64_t kPiece = 128;      // samples: about 4 ms
    static constexpr int64_t kPause = 1 << 15;  // samples until the next trial
    static constexpr double kGain = 1.05;       // less is not worth another core

    int left_ = kPieces;
    bool pays_ = false;
    int64_t pause_ = 0;
    double seconds_[2] = {0, 0};  // of the trial: alone, helped
    int64_t samples_[2] = {0, 0};
};

}  // namespace vqspeech
