// Drives the sampling engine through odd shapes without Python; tests/sampling/sanitize.sh builds
// it with sanitizers.
//
// Buffers are exactly as long as they have to be, so that a read or write past the end is seen.
// Beside that, each stream must get the same levels and logits alone, in company, and on several
// threads.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <memory>
#include <random>
#include <thread>
#include <vector>

#include "duet.h"
#include "network.h"
#include "sampler.h"
#include "trial.h"

using namespace vqspeech;

namespace {

using namespace std::chrono_literals;

struct Shape {
    const char* name;
    int levels, residual, half, skip, condition, hop;
    std::vector<int> dilations;
    std::vector<int64_t> samples;  // of each stream
    float spread = 1;              // of the weights
    bool taps = false;             // whether there are pitch taps
};

const std::vector<int64_t> kMany = {33, 1, 20, 0, 12, 40, 5, 33, 26};  // more streams than lanes

const Shape kShapes[] = {
    {"multiples of everything", 256, 64, 64, 64, 64, 16, {1, 2, 4, 8, 16}, kMany},
    {"multiples of nothing", 19, 21, 13, 35, 7, 3, {1, 7, 3, 30}, kMany},
    {"ones", 1, 1, 1, 1, 1, 1, {1}, kMany},
    {"weights of zero", 10, 5, 3, 7, 2, 4, {1, 2}, kMany, 0},
    {"weights that saturate", 17, 20, 12, 18, 5, 5, {2, 1, 5}, kMany, 100},
    // Large enough for one stream to take two threads; the last leaves more than 1024 channels to
    // the helper.
    {"for two threads", 256, 88, 76, 100, 20, 50, {1, 2, 4, 5, 6, 7, 64}, {40}},
    {"wide", 30, 24, 10, 1800, 3, 8, {3, 1}, {12}},
    {"pitch taps", 19, 21, 13, 35, 7, 3, {1, 7, 3, 30}, kMany, 1, true},
    {"pitch taps of ones", 1, 1, 1, 1, 1, 1, {1}, kMany, 1, true},
    {"pitch taps that saturate", 17, 20, 12, 18, 5, 5, {2, 1, 5}, kMany, 100, true},
    {"pitch taps for two threads", 256, 88, 76, 100, 20, 2, {1, 2, 4, 5, 6, 7, 64}, {60}, 1, true},
};

class Random {
  public:
    explicit Random(unsigned seed) : generator_(seed) {}
    float uniform() { return static_cast<float>(generator_() >> 8) * 0x1p-24f; }  // in [0, 1)
    std::vector<float> vector(size_t count, float range) {
        std::vector<float> numbers(count);
        for (float& number : numbers) number = (2 * uniform() - 1) * range;
        return numbers;
    }
    int below(int end) { return static_cast<int>(generator_() % static_cast<unsigned>(end)); }

  private:
    std::mt19937 generator_;
};

Network packed(const Shape& shape, Mode mode) {
    Random random(1);
    const int L = static_cast<int>(shape.dilations.size());
    const int R = shape.residual, H = shape.half, S = shape.skip, C = shape.condition;
    const auto matrix = [&](int rows, int depth) {
        const float range = shape.spread * 1.5f / std::sqrt(static_cast<float>(depth));
        return random.vector(static_cast<size_t>(rows) * depth, range);
    };
    const auto embedding = matrix(shape.levels, R), taps = matrix(kTaps * (shape.levels + 1), R);
    const auto gate = matrix(L * 2 * H, 2 * R);
    const auto residual = matrix((L - 1) * R, H), residual_bias = matrix(L - 1, R);
    const auto skip = matrix(S, L * H), skip_bias = matrix(1, S);
    const auto hidden = matrix(S, S), hidden_bias = matrix(1, S);
    const auto output = matrix(shape.levels, S), output_bias = matrix(1, shape.levels);
    const auto condition = matrix(L * 2 * H, C), condition_bias = matrix(L, 2 * H);
    Weights weights{};
    weights.levels = shape.levels;
    weights.residual = R;
    weights.half = H;
    weights.skip = S;
    weights.condition = C;
    weights.silence = shape.levels / 2;
    weights.dilations = shape.dilations;
    weights.embedding = embedding.data();
    weights.taps = shape.taps ? taps.data() : nullptr;
    weights.gate = gate.data();
    weights.residual_weight = residual.data();
    weights.residual_bias = residual_bias.data();
    weights.skip_weight = skip.data();
    weights.skip_bias = skip_bias.data();
    weights.hidden_weight = hidden.data();
    weights.hidden_bias = hidden_bias.data();
    weights.output_weight = output.data();
    weights.output_bias = output_bias.data();
    weights.condition_weight = condition.data();
    weights.condition_bias = condition_bias.data();
    return Network(weights, mode);
}

// A stream with everything it reads and writes.
struct Case {
    Case(const Shape& shape, int64_t samples, Choice choice, bool is_given, unsigned seed) {
        Random random(seed);
        const int64_t frames = (samples + shape.hop - 1) / shape.hop;
        condition = random.vector(frames * shape.condition, 1);
        // None, too short, the shortest, within the past or beyond it, and as far as numbers go.
        const int64_t odd[] = {0, 1, 2, 3, 8, 21, -1, INT64_MAX, INT64_MIN};
        for (int64_t i = 0; shape.taps && i < frames; ++i) lags.push_back(odd[random.below(9)]);
        uniforms.resize(samples);
        given.resize(is_given ? samples : 0);
        for (int64_t i = 0; i < samples; ++i)
            uniforms[i] = i % 5 == 1 ? 0 : i % 5 == 2 ? std::nextafter(1.f, 0.f) : random.uniform();
        for (int32_t& level : given) level = random.below(shape.levels);
        drawn.assign(is_given ? 0 : samples, -1);
        logits.assign(samples * shape.levels, NAN);
        task.frames = condition.data();
        task.hop = shape.hop;
        task.lags = shape.taps ? lags.data() : nullptr;
        task.uniforms = uniforms.data();
        task.given = is_given ? given.data() : nullptr;
        task.drawn = drawn.data();
        task.logits = logits.data();
        task.samples = samples;
        task.choice = choice;
    }
    Case(Case&&) = default;  // a vector that is moved keeps its place; one that is copied does not

    std::vector<float> condition, uniforms, logits;
    std::vector<int32_t> given, drawn;
    std::vector<int64_t> lags;
    Task task{};
};

std::vector<Case> cases_for(const Shape& shape) {
    // Inverse temperature (negative takes the likeliest, 0 is infinitely hot) and top-p.
    const Choice choices[] = {{1, 1},    {1, .5f},      {-1, 1},   {0, 1},
                              {1e6f, 1}, {1.3f, 1e-9f}, {0, .999f}};
    std::vector<Case> cases;
    for (size_t i = 0; i < shape.samples.size(); ++i)
        cases.emplace_back(shape, shape.samples[i], choices[i % 7], i % 4 == 3, 10 + i);
    if (cases.size() == 1) cases[0].task.choice = choices[1];
    return cases;
}

// Draws all cases in one sampler, `block` samples at a time.
void draw(const std::shared_ptr<const Network>& network, const Loops& loops, int threads,
          int64_t block, Case* cases, size_t count) {
    Sampler sampler(network, loops, threads);
    for (size_t i = 0; i < count; ++i) sampler.add(cases[i].task);
    const auto done = [&] {
        for (size_t i = 0; i < count; ++i)
            if (sampler.time(i) < cases[i].task.samples) return false;
        return true;
    };
    while (!done()) sampler.advance(block);
    // Dropped half-way, streams must leave nothing behind.
    Sampler dropped(network, loops, threads);
    for (size_t i = 0; i < count; ++i) dropped.add(cases[i].task);
    dropped.advance(3);
}

// Draws one case on two threads, whatever its size. Without patience the main thread gives its
// helper up again and again; with much of it they stay together.
void draw_in_duet(const Network& network, const Loops& loops, std::chrono::microseconds patience,
                  Case& one) {
    Stream stream(network, one.task);
    while (!stream.finished()) {
        constexpr int64_t block = 15;
        Duet duet(network, stream, std::min(block, stream.task.samples - stream.time));
        duet.patience = patience;
        std::thread helper(loops.help, std::ref(duet));
        loops.lead(duet);
        duet.stop.store(true);
        helper.join();
    }
}

bool sound(const Shape& shape, const std::vector<Case>& cases) {
    for (const Case& c : cases) {
        for (const int32_t level : c.drawn)
            if (level < 0 || level >= shape.levels) return false;
        for (const float logit : c.logits)
            if (!std::isfinite(logit)) return false;
    }
    return true;
}

bool same(const std::vector<Case>& some, const std::vector<Case>& others) {
    for (size_t i = 0; i < some.size(); ++i)
        if (some[i].drawn != others[i].drawn || some[i].logits != others[i].logits) return false;
    return true;
}

bool check(const Shape& shape, Mode mode, const Loops& loops) {
    const auto network = std::make_shared<const Network>(packed(shape, mode));
    std::vector<Case> alone = cases_for(shape);
    for (Case& one : alone) draw(network, loops, 1, 1000, &one, 1);
    if (!sound(shape, alone)) {
        std::printf("%s: a level is out of range or a logit is not finite\n", shape.name);
        return false;
    }
    for (const int threads : {1, 2}) {
        std::vector<Case> together = cases_for(shape);
        draw(network, loops, threads, 11 * threads, together.data(), together.size());
        if (same(alone, together)) continue;
        std::printf("%s: %d threads do not draw what one stream alone gets\n", shape.name, threads);
        return false;
    }
    for (const std::chrono::microseconds patience : {0us, 20us, 10'000'000us}) {
        std::vector<Case> split = cases_for(shape);
        for (Case& one : split) draw_in_duet(*network, loops, patience, one);
        if (same(alone, split)) continue;
        std::printf("%s: two threads do not draw what one gets\n", shape.name);
        return false;
    }
    return true;
}

// Draws `samples` of which each takes `alone_s`, or `helped_s` where helped; returns how many were
// helped, and adds up what they took.
int64_t help_in(Trial& trial, int64_t samples, double alone_s, double helped_s, double& took_s) {
    int64_t helped = 0;
    for (int64_t done = 0; done < samples;) {
        const int64_t piece = std::min({trial.most(), samples - done, int64_t{1024}});
        const bool with = trial.helped();
        const double seconds = static_cast<double>(piece) * (with ? helped_s : alone_s);
        trial.took(piece, seconds);
        took_s += seconds;
        helped += with ? piece : 0;
        done += piece;
    }
    return helped;
}

// A helper stays while it pays, goes within a tenth of a second of when it does not, costs little
// while it would cost much, and comes back.
bool check_trial() {
    constexpr int64_t second = 30'000;  // samples
    constexpr double alone_s = 1. / second;
    Trial trial;
    double took_s = 0;
    if (help_in(trial, 10 * second, alone_s, alone_s / 1.3, took_s) < 9.5 * second) return false;
    took_s = 0;
    help_in(trial, second / 10, alone_s, 3 * alone_s, took_s);
    if (trial.helped() && trial.most() > second / 10) return false;
    took_s = 0;
    if (help_in(trial, 10 * second, alone_s, 1.5 * alone_s, took_s) > second / 2) return false;
    if (took_s > 10.3) return false;
    return help_in(trial, 10 * second, alone_s, alone_s / 1.3, took_s) > 8 * second;
}

}  // namespace

int main() {
    bool passed = check_trial();
    if (!passed) std::printf("a helper is kept that does not pay, or dropped that does\n");
    int runs = 0;
    for (const Mode mode : {Mode::fp32, Mode::bf16, Mode::int8})
        for (const Loops* loops : {portable_loops(mode), avx2_loops(mode)})
            for (const Shape& shape : kShapes) {
                if (!loops) continue;
                ++runs;
                if (check(shape, mode, *loops)) continue;
                std::printf("  mode %d, %s loops\n", static_cast<int>(mode),
                            loops == portable_loops(mode) ? "portable" : "AVX2");
                passed = false;
            }
    std::printf("%d combinations of shape, mode and instructions %s\n", runs,
                passed ? "pass" : "do not all pass");
    return passed ? 0 : 1;
}
