// One stream on two threads, split by role: the main thread walks the critical path (current tap,
// gate, residual), the helper follows with the past tap and most of the skip product; they share
// the layers after it by rows.
//
// Both spin, since a step takes tens of microseconds. The main thread waits for the helper only so
// long: when something else uses the helper's core, it takes the work back and goes on alone, and
// the helper offers itself again once it runs. A helper that was held up in the middle of its work
// may read inputs that the main thread is overwriting; what it makes of them lies in memory of its
// own and is thrown away.
#pragma once

#include <atomic>
#include <chrono>
#include <thread>

#include "steps.h"

namespace vqspeech {

struct Duet {
    Duet(const Network& network, Stream& stream, int64_t steps);

    enum State { kBusy, kOffered, kAccepted, kAbandoned };
    const Network& network;
    Stream& stream;
    const int64_t end;  // time at which the work is done
    std::chrono::microseconds patience{50};
    int main_panels;  // of the skip product that the main thread takes

    // Only the main thread accepts and abandons, only the helper offers.
    alignas(64) std::atomic<int> state{kBusy};
    std::atomic<bool> stop{false};
    int64_t start = 0;  // time at which an accepted helper begins

    // Counts of what is done: layers published, stages of the head (three a step).
    alignas(64) std::atomic<int64_t> published{0};
    std::atomic<int64_t> main_stage{0};
    alignas(64) std::atomic<int64_t> helper_stage{0};
    std::unique_ptr<std::atomic<int64_t>[]> past_until;  // (layers,): end of what the partials hold

    std::vector<Partial> partials;  // the helper's
    Memory skip, hidden, logits;    // halves of each are written by both
    Memory main_values, helper_values;
};

inline void pause_briefly() {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

template <class Isa, template <class> class Arithmetic>
struct DuetSteps {
    using S = Steps<Isa, Arithmetic>;
    using Math = typename S::Math;
    using Value = typename S::Value;
    using Input = typename S::Input;

    static int half_of(const Matrix& matrix) { return (panels(matrix) + 1) / 2; }

    // ---- The main thread.

    // Whether `done` comes true soon; if not, the helper is given up.
    template <class Done>
    static bool in_time(Duet& d, Done done) {
        using Clock = std::chrono::steady_clock;
        Clock::time_point begun;
        for (int spins = 0; !done(); ++spins) {
            pause_briefly();
            if (spins == 0) begun = Clock::now();
            if (spins % 32 == 31 && Clock::now() - begun > d.patience) {
                d.state.store(Duet::kAbandoned, std::memory_order_release);
                return false;
            }
        }
        return true;
    }

    static bool await_stage(Duet& d, int64_t stage) {
        return in_time(d, [&] { return d.helper_stage.load(std::memory_order_acquire) >= stage; });
    }

    // The layers after the gates, by halves. False when the helper was given up.
    static bool share_head(Duet& d) {
        const Network& net = d.network;
        Stream& s = d.stream;
        float* const skip[1] = {d.skip.as<float>()};
        float* const hidden[1] = {d.hidden.as<float>()};
        float* const logits[1] = {d.logits.as<float>()};
        Input input[1] = {S::gates_of(net, s, 0)};
        const int64_t stage = 3 * s.time;
        S::template multiply_head<1>(net.skip_matrix, net.skip_bias, true, input, 0, d.main_panels,
                                     skip);
        d.main_stage.store(stage + 1, std::memory_order_release);
        if (!await_stage(d, stage + 1)) return false;
        input[0] = S::narrow(skip[0], net.skip, d.main_values.as<Value>());
        S::template multiply_head<1>(net.hidden_matrix, net.hidden_bias, true, input, 0,
                                     half_of(net.hidden_matrix), hidden);
        d.main_stage.store(stage + 2, std::memory_order_release);
        if (!await_stage(d, stage + 2)) return false;
        input[0] = S::narrow(hidden[0], net.skip, d.main_values.as<Value>());
        S::template multiply_head<1>(net.output_matrix, net.output_bias, false, input, 0,
                                     half_of(net.output_matrix), logits);
        return await_stage(d, stage + 3);
    }

    static void lead(Duet& d) {
        const Network& net = d.network;
        Stream& s = d.stream;
        Stream* const lane[1] = {&s};
        const int layers = static_cast<int>(net.layers.size());
        bool together = false;
        while (s.time < d.end) {
            if (!together && d.state.load(std::memory_order_acquire) == Duet::kOffered) {
                d.start = s.time;
                d.published.store(s.time * layers, std::memory_order_relaxed);
                d.state.store(Duet::kAccepted, std::memory_order_release);
                together = true;
            }
            S::begin(net, s);
            for (int l = 0; l < layers; ++l) {
                const auto& until = d.past_until[l];
                together = together && in_time(d, [&] {
                               return until.load(std::memory_order_acquire) > s.time;
                           });
                const float* past = together ? moment(d, l) : S::own_past(net, s, l);
                S::template pass_gates<1>(net, l, lane, past);
                if (together) d.published.store(s.time * layers + l + 1, std::memory_order_release);
                if (l < layers - 1) S::template pass_residual<1>(net, l, lane);
            }
            together = together && share_head(d);
            if (!together) S::template pass_head<1>(net, lane);
            S::draw(net, s, together ? d.logits.as<float>() : s.logits.template as<float>());
        }
    }

    static const float* moment(Duet& d, int l) {
        const Partial& partial = d.partials[l];
        return partial.sums.as<float>() + (d.stream.time - partial.begin) * 2 * d.network.half;
    }

    // ---- The helper.

    // Waits until `done`; false when the main thread has gone on alone or stopped.
    template <class Done>
    static bool still_wanted(Duet& d, Done done) {
        for (int spins = 1; !done(); ++spins) {
            if (d.stop.load(std::memory_order_relaxed)) return false;
            if (d.state.load(std::memory_order_relaxed) == Duet::kAbandoned) return false;
            pause_briefly();
            if (spins % 4096 == 0) std::this_thread::yield();
        }
        return true;
    }

    static void fill_past(Duet& d, int l, int64_t time, int moments) {
        Partial& partial = d.partials[l];
        S::fill(d.network, d.network.layers[l], d.stream.rings[l], time, moments, partial);
        d.past_until[l].store(partial.end, std::memory_order_release);
    }

    // The helper's panels of the skip product, layer by layer as they are published. False when
    // unwanted.
    static bool follow_layers(Duet& d, int64_t time) {
        const Network& net = d.network;
        const Matrix& matrix = net.skip_matrix;
        const int layers = static_cast<int>(net.layers.size()), all = panels(matrix);
        constexpr int most = 16;  // panels whose sums are kept between layers: 1024 skip channels
        Sums<Math, kPanelRows / 8, 1> sums[most];
        const int first = d.main_panels, followed = all - first < most ? all - first : most;
        for (int p = 0; p < followed; ++p)
            for (auto& sum : sums[p]) sum[0] = Math::zeros();
        const Input input[1] = {S::gates_of(net, d.stream, 0)};
        // The late layers' past taps are added up while the main thread draws and begins the next
        // sample, those of the early ones, which it wants at once, before that.
        const int early = layers / 2;
        for (int l = early; l < layers; ++l)
            if (d.partials[l].end <= time) fill_past(d, l, time, S::known_ahead(net.layers[l]));
        for (int l = 0; l < layers; ++l) {
            const auto published = [&] {
                return d.published.load(std::memory_order_acquire) > time * layers + l;
            };
            if (!still_wanted(d, published)) return false;
            for_panels<1>(
                matrix, first, first + followed,
                [&](auto width, int panel, int height, int tile, int) {
                    constexpr int V = decltype(width)::value;
                    Factors<Math, 1> both[1] = {factors<Math, 1>(matrix, panel, input)};
                    const bool last = panel == first + followed - 1;
                    both[0].after = panel_weights<Math>(matrix, last ? first : panel + 1) +
                                    size_t(l + last) * net.half * height;
                    auto* part = &sums[panel - first][2 * tile];
                    add_columns<Isa, Math, V, 1, false>(both, height, tile, l * net.half, net.half,
                                                        *reinterpret_cast<Sums<Math, V, 1>*>(part));
                });
            if (l < early && d.partials[l].end <= time + 1)
                fill_past(d, l, time + 1, S::known_ahead(net.layers[l]));
        }
        float* const skip[1] = {d.skip.as<float>()};
        for (int p = 0; p < followed; ++p)
            for (int v = 0; v < panel_height(matrix, first + p) / 8; v += 2) {
                const int row = (first + p) * kPanelRows + 8 * v;
                S::store_head(skip[0], net.skip_bias, true, row,
                              Math::finish(sums[p][v][0], matrix, row, input[0].scale),
                              Math::finish(sums[p][v + 1][0], matrix, row + 8, input[0].scale));
            }
        S::template multiply_head<1>(matrix, net.skip_bias, true, input, first + followed, all,
                                     skip);
        return true;
    }

    static bool await_main(Duet& d, int64_t stage) {
        return still_wanted(d,
                            [&] { return d.main_stage.load(std::memory_order_acquire) >= stage; });
    }

    static void help_steps(Duet& d) {
        const Network& net = d.network;
        float* const hidden[1] = {d.hidden.as<float>()};
        float* const logits[1] = {d.logits.as<float>()};
        // Fewer moments at first, and not as many in every layer: later, not all layers are due at
        // once.
        for (int l = 0; l < static_cast<int>(net.layers.size()); ++l)
            fill_past(d, l, d.start, 1 + l % S::known_ahead(net.layers[l]));
        for (int64_t time = d.start; time < d.end; ++time) {
            const int64_t stage = 3 * time;
            if (!follow_layers(d, time)) return;
            d.helper_stage.store(stage + 1, std::memory_order_release);
            if (!await_main(d, stage + 1)) return;
            Input input[1] = {S::narrow(d.skip.as<float>(), net.skip, d.helper_values.as<Value>())};
            S::template multiply_head<1>(net.hidden_matrix, net.hidden_bias, true, input,
                                         half_of(net.hidden_matrix), panels(net.hidden_matrix),
                                         hidden);
            d.helper_stage.store(stage + 2, std::memory_order_release);
            if (!await_main(d, stage + 2)) return;
            input[0] = S::narrow(d.hidden.as<float>(), net.skip, d.helper_values.as<Value>());
            S::template multiply_head<1>(net.output_matrix, net.output_bias, false, input,
                                         half_of(net.output_matrix), panels(net.output_matrix),
                                         logits);
            d.helper_stage.store(stage + 3, std::memory_order_release);
        }
    }

    static void help(Duet& d) {
        while (!d.stop.load(std::memory_order_relaxed)) {
            for (size_t l = 0; l < d.network.layers.size(); ++l) d.past_until[l].store(0);
            d.state.store(Duet::kOffered, std::memory_order_release);
            const auto accepted = [&] {
                return d.state.load(std::memory_order_acquire) == Duet::kAccepted;
            };
            if (!still_wanted(d, accepted)) return;
            help_steps(d);
        }
    }
};

}  // namespace vqspeech
