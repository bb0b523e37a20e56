// One step of the WaveNet, for one to kLanes streams, as functions of an instruction set and an
// arithmetic.
#pragma once

#include <cstring>

#include "gate.h"
#include "kernels.h"
#include "stream.h"

namespace vqspeech {

template <class Isa, template <class> class Arithmetic>
struct Steps {
    using Math = Arithmetic<Isa>;
    using Value = typename Math::Value;
    using Input = Vector<Value>;
    static constexpr bool kInteger = std::is_same_v<Value, int16_t>;

    // Gates lie in (-1, 1): their scale is known beforehand. All layers share the one of the skip
    // product.
    static float gate_range(const Network& net) {
        const int depth = static_cast<int>(net.layers.size()) * net.half;
        return kInteger ? static_cast<float>(largest_activation(depth)) : 1.f;
    }

    // Brings floats to the values' precision; returns the vector to multiply with.
    static Input narrow(const float* from, int length, [[maybe_unused]] Value* to) {
        if constexpr (kInteger) {
            auto largest = Isa::zeros();
            for (int i = 0; i < length; i += 8)
                largest = Isa::max(largest, Isa::magnitude(Isa::load(from + i)));
            const float top = Isa::largest(largest), range = largest_activation(length);
            const auto factor = Isa::all(top > 1e-30f ? range / top : 0.f);  // finite
            for (int i = 0; i < length; i += 8)
                Isa::store_int16(to + i, Isa::mul(Isa::load(from + i), factor));
            return {to, top / range};
        } else {
            return {from, 1.f};
        }
    }

    static Input x(const Stream& s) {
        if constexpr (kInteger)
            return {s.x_values.as<Value>(), s.x_scale};
        else
            return {s.x.as<float>(), 1.f};
    }

    static void narrow_x(const Network& net, Stream& s) {
        s.x_scale = narrow(s.x.as<float>(), net.residual, s.x_values.as<Value>()).scale;
    }

    // Adds the embeddings of the levels around one period ago. All past levels are there: those
    // drawn in the caller's memory, or those given, which are one sample ahead.
    static void add_taps(const Network& net, Stream& s, int64_t frame) {
        const int64_t lag = s.task.lags[frame];
        const int32_t* past = s.task.given ? s.task.given + 1 : s.task.drawn;
        // Without a period the taps are before the first sample, for which the last row stands.
        const int64_t oldest = lag < kShortestLag ? -kTaps : s.time - lag - 1;
        float* x = s.x.as<float>();
        for (int tap = 0; tap < kTaps; ++tap) {
            const int64_t level = oldest + tap < 0 ? net.levels : past[oldest + tap];
            const float* row = net.taps + (tap * int64_t{net.levels + 1} + level) * net.residual;
            for (int i = 0; i < net.residual; i += 8)
                Isa::store(x + i, Isa::add(Isa::load(x + i), Isa::load(row + i)));
        }
    }

    // Looks up the levels that this sample takes, and projects the condition when a frame begins.
    static void begin(const Network& net, Stream& s) {
        const int64_t frame = s.time / s.task.hop;
        if (s.task.given) s.level = s.task.given[s.time];
        std::memcpy(s.x.as<float>(), net.embedding + static_cast<size_t>(s.level) * net.residual,
                    net.residual * sizeof(float));
        if (net.taps) add_taps(net, s, frame);
        narrow_x(net, s);
        if (frame == s.frame) return;
        s.frame = frame;
        float* frame_values = s.condition.as<float>() + net.condition_matrix.rows;
        std::memcpy(frame_values, s.task.frames + frame * net.condition_channels,
                    net.condition_channels * sizeof(float));
        const Vector<float> input[1] = {{frame_values, 1.f}};
        float* projected = s.condition.as<float>();
        multiply<Isa, Fp32<Isa>, 1>(net.condition_matrix, input, 0, panels(net.condition_matrix),
                                    [&](int, int row, auto low, auto high) {
                                        const float* bias = net.condition_bias + row;
                                        Isa::store(projected + row, Isa::add(low, Isa::load(bias)));
                                        Isa::store(projected + row + 8,
                                                   Isa::add(high, Isa::load(bias + 8)));
                                    });
    }

    static Input past_input(const Network& net, const Layer& layer, const Ring& ring,
                            int64_t ahead) {
        int64_t at = ring.position + ahead;
        if (at >= layer.dilation) at -= layer.dilation;
        const float scale = kInteger ? ring.scales.as<float>()[at] : 1.f;
        return {ring.values.as<Value>() + at * net.residual, scale};
    }

    // How many moments ahead the past tap of a layer can be known.
    static int known_ahead(const Layer& layer) {
        return layer.dilation < kLanes ? layer.dilation : kLanes;
    }

    // Fills the sums of the past tap for so many moments from `time` on. The ring holds the inputs
    // of the `dilation` moments before `time`.
    static void fill(const Network& net, const Layer& layer, const Ring& ring, int64_t time,
                     int moments, Partial& partial) {
        partial.begin = time;
        partial.end = time + moments;
        with_count(moments, [&](auto count) {
            constexpr int C = decltype(count)::value;
            Input inputs[C];
            float* sums[C];
            for (int c = 0; c < C; ++c) {
                inputs[c] = past_input(net, layer, ring, c);
                sums[c] = partial.sums.template as<float>() + c * size_t(2 * net.half);
            }
            multiply<Isa, Math, C>(layer.past, inputs, 0, panels(layer.past),
                                   [&](int c, int row, auto low, auto high) {
                                       Isa::store(sums[c] + row, low);
                                       Isa::store(sums[c] + row + 8, high);
                                   });
        });
    }

    // Calls work(std::integral_constant<int, count>).
    template <class Work>
    static void with_count(int count, Work work) {
        static_assert(kLanes == 6);
        switch (count) {
            case 1:
                return work(std::integral_constant<int, 1>{});
            case 2:
                return work(std::integral_constant<int, 2>{});
            case 3:
                return work(std::integral_constant<int, 3>{});
            case 4:
                return work(std::integral_constant<int, 4>{});
            case 5:
                return work(std::integral_constant<int, 5>{});
            default:
                return work(std::integral_constant<int, 6>{});
        }
    }

    // Sums of both taps of V / 2 tiles of a layer's gates, as floats. Floats are added up in one
    // go, past first; 32-bit sums of different scales are not.
    template <int V, int C>
    static void sum_taps(const Layer& layer, int panel, int height, int tile,
                         const Input (&past)[C], const Input (&now)[C],
                         typename Isa::Floats (&sums)[V][C]) {
        const Factors<Math, C> before[1] = {factors<Math, C>(layer.past, panel, past)};
        const Factors<Math, C> both[2] = {before[0], factors<Math, C>(layer.now, panel, now)};
        const int depth = layer.now.depth;
        if constexpr (kInteger) {
            const Factors<Math, C> after[1] = {both[1]};
            Sums<Math, V, C> first, second;
            add_columns<Isa, Math, V, C, true>(before, height, tile, 0, depth, first);
            add_columns<Isa, Math, V, C, true>(after, height, tile, 0, depth, second);
            for (int v = 0; v < V; ++v)
                for (int c = 0; c < C; ++c) {
                    const int row = panel * kPanelRows + tile * kTileRows + 8 * v;
                    sums[v][c] = Isa::add(Math::finish(first[v][c], layer.past, row, past[c].scale),
                                          Math::finish(second[v][c], layer.now, row, now[c].scale));
                }
        } else {
            add_columns<Isa, Math, V, C, true>(both, height, tile, 0, depth, sums);
        }
    }

    // The same for one stream whose past tap is summed up already.
    template <int V>
    static void sum_now(const Layer& layer, int panel, int height, int tile, const float* past,
                        const Input (&now)[1], typename Isa::Floats (&sums)[V][1]) {
        const Factors<Math, 1> after[1] = {factors<Math, 1>(layer.now, panel, now)};
        const int depth = layer.now.depth, first = panel * kPanelRows + tile * kTileRows;
        for (int v = 0; v < V; ++v) sums[v][0] = Isa::load(past + first + 8 * v);
        if constexpr (kInteger) {
            Sums<Math, V, 1> second;
            add_columns<Isa, Math, V, 1, true>(after, height, tile, 0, depth, second);
            for (int v = 0; v < V; ++v)
                sums[v][0] = Isa::add(
                    sums[v][0], Math::finish(second[v][0], layer.now, first + 8 * v, now[0].scale));
        } else {
            add_columns<Isa, Math, V, 1, false>(after, height, tile, 0, depth, sums);
        }
    }

    // What a layer will read beside weights: it was last in use a step ago, or `dilation` steps.
    static void prefetch_layer(const Network& net, int l, const Stream& s) {
        if (l >= static_cast<int>(net.layers.size())) return;
        const auto fetch = [](const void* from, size_t bytes) {
            for (size_t i = 0; i < bytes; i += 64)
                Isa::prefetch(static_cast<const char*>(from) + i);
        };
        const size_t gates = 2 * size_t(net.half);
        fetch(s.condition.template as<float>() + l * gates, gates * sizeof(float));
        fetch(past_input(net, net.layers[l], s.rings[l], 0).values, net.residual * sizeof(Value));
    }

    // `length` is a multiple of 16.
    static void copy_values(const Value* from, int length, Value* to) {
        constexpr int eight = 32 / sizeof(Value);
        for (int i = 0; i < length; i += eight)
            Isa::store(reinterpret_cast<float*>(to + i),
                       Isa::load(reinterpret_cast<const float*>(from + i)));
    }

    // The gates of a layer; then its inputs join the rings. `known` are the sums of the past tap of
    // the one stream; of several streams they are added up here.
    template <int C>
    static void pass_gates(const Network& net, int l, Stream* const (&streams)[C],
                           [[maybe_unused]] const float* known = nullptr) {
        const Layer& layer = net.layers[l];
        const auto range = Isa::all(gate_range(net));
        for (const Stream* s : streams) prefetch_layer(net, l + 1, *s);
        Input past[C], now[C];
        const float* conditions[C];
        Value* gates[C];
        for (int c = 0; c < C; ++c) {
            past[c] = past_input(net, layer, streams[c]->rings[l], 0);
            now[c] = x(*streams[c]);
            conditions[c] = streams[c]->condition.template as<float>() + l * size_t(2 * net.half);
            gates[c] = streams[c]->gates.template as<Value>() + l * size_t(net.half);
        }
        for (int panel = 0; panel < panels(layer.now); ++panel) {
            // The gates of a whole panel at once: one alone would wait for its own exponentials and
            // division.
            const int height = panel_height(layer.now, panel), first = panel * kPanelRows;
            typename Isa::Floats sums[kPanelRows / 8][C];
            for_tiles<C>(height, [&](auto width, int tile) {
                constexpr int V = decltype(width)::value;
                auto& part = *reinterpret_cast<typename Isa::Floats(*)[V][C]>(&sums[2 * tile]);
                if constexpr (C == 1)
                    sum_now<V>(layer, panel, height, tile, known, now, part);
                else
                    sum_taps<V, C>(layer, panel, height, tile, past, now, part);
            });
            for (int v = 0; v < height / 8; v += 2)
                for (int c = 0; c < C; ++c) {
                    const int row = first + 8 * v;
                    const auto z =
                        gate<Isa>(Isa::add(sums[v][c], Isa::load(conditions[c] + row)),
                                  Isa::add(sums[v + 1][c], Isa::load(conditions[c] + row + 8)));
                    if constexpr (kInteger)
                        Isa::store_int16(gates[c] + row / 2, Isa::mul(z, range));
                    else
                        Isa::store(gates[c] + row / 2, z);
                }
        }
        for (int c = 0; c < C; ++c) {
            Ring& ring = streams[c]->rings[l];
            copy_values(now[c].values, net.residual,
                        ring.values.template as<Value>() + ring.position * net.residual);
            if constexpr (kInteger) ring.scales.template as<float>()[ring.position] = now[c].scale;
            if (++ring.position == layer.dilation) ring.position = 0;
        }
    }

    static Input gates_of(const Network& net, const Stream& s, int l) {
        return {s.gates.as<Value>() + l * size_t(net.half), 1.f / gate_range(net)};
    }

    template <int C>
    static void pass_residual(const Network& net, int l, Stream* const (&streams)[C]) {
        const Layer& layer = net.layers[l];
        Input inputs[C];
        for (int c = 0; c < C; ++c) inputs[c] = gates_of(net, *streams[c], l);
        multiply<Isa, Math, C>(
            layer.residual, inputs, 0, panels(layer.residual),
            [&](int c, int row, auto low, auto high) {
                float* x = streams[c]->x.template as<float>() + row;
                Isa::store(x, Isa::add(Isa::load(x), Isa::add(low, Isa::load(layer.bias + row))));
                Isa::store(x + 8, Isa::add(Isa::load(x + 8),
                                           Isa::add(high, Isa::load(layer.bias + row + 8))));
            });
        for (int c = 0; c < C; ++c) narrow_x(net, *streams[c]);
    }

    // Rows of panels [first, last) of matrix * input + bias, cut at 0 when `relu`, into `to`.
    template <int C>
    static void multiply_head(const Matrix& matrix, const float* bias, bool relu,
                              const Input (&inputs)[C], int first, int last,
                              float* const (&to)[C]) {
        multiply<Isa, Math, C>(matrix, inputs, first, last,
                               [&](int c, int row, auto low, auto high) {
                                   store_head(to[c], bias, relu, row, low, high);
                               });
    }

    template <class Floats>
    static void store_head(float* to, const float* bias, bool relu, int row, Floats low,
                           Floats high) {
        const auto floor = relu ? Isa::zeros() : Isa::all(-3e38f);
        Isa::store(to + row, Isa::max(floor, Isa::add(low, Isa::load(bias + row))));
        Isa::store(to + row + 8, Isa::max(floor, Isa::add(high, Isa::load(bias + row + 8))));
    }

    // Skip, two layers and their relus for whole vectors.
    template <int C>
    static void pass_head(const Network& net, Stream* const (&streams)[C]) {
        Input inputs[C];
        float *skip[C], *hidden[C], *logits[C];
        for (int c = 0; c < C; ++c) {
            inputs[c] = gates_of(net, *streams[c], 0);
            skip[c] = streams[c]->hidden.template as<float>();
            hidden[c] = skip[c] + net.skip;
            logits[c] = streams[c]->logits.template as<float>();
        }
        const auto narrow_all = [&](float* const(&from)[C]) {
            for (int c = 0; c < C; ++c)
                inputs[c] =
                    narrow(from[c], net.skip, streams[c]->hidden_values.template as<Value>());
        };
        const int last = panels(net.skip_matrix);
        multiply_head<C>(net.skip_matrix, net.skip_bias, true, inputs, 0, last, skip);
        narrow_all(skip);
        multiply_head<C>(net.hidden_matrix, net.hidden_bias, true, inputs, 0, last, hidden);
        narrow_all(hidden);
        multiply_head<C>(net.output_matrix, net.output_bias, false, inputs, 0,
                         panels(net.output_matrix), logits);
    }

    // Draws the level of this sample from `logits`, which are used up, and moves on.
    static void draw(const Network& net, Stream& s, float* logits) {
        if (s.task.logits)
            std::memcpy(s.task.logits + s.time * net.levels, logits, net.levels * sizeof(float));
        if (!s.task.given) {
            s.level = choose<Isa>(logits, net.levels, s.task.uniforms[s.time], s.task.choice,
                                  s.order.data());
            s.task.drawn[s.time] = s.level;
        }
        ++s.time;
    }

    // Sums of the past tap at this moment, filled ahead when there are none.
    static const float* own_past(const Network& net, Stream& s, int l) {
        Partial& partial = s.partials[l];
        if (s.time < partial.begin || s.time >= partial.end)
            fill(net, net.layers[l], s.rings[l], s.time, known_ahead(net.layers[l]), partial);
        return partial.sums.as<float>() + (s.time - partial.begin) * 2 * net.half;
    }

    template <int C>
    static void step(const Network& net, Stream* const (&streams)[C]) {
        for (Stream* s : streams) begin(net, *s);
        const int layers = static_cast<int>(net.layers.size());
        for (int l = 0; l < layers; ++l) {
            if constexpr (C == 1)
                pass_gates<1>(net, l, streams, own_past(net, *streams[0], l));
            else
                pass_gates<C>(net, l, streams);
            if (l < layers - 1) pass_residual<C>(net, l, streams);
        }
        pass_head<C>(net, streams);
        for (Stream* s : streams) draw(net, *s, s->logits.template as<float>());
    }

    // Advances streams, none of which ends before, by `steps`.
    static void run(const Network& net, Stream* const* streams, int count, int64_t steps) {
        with_count(count, [&](auto fixed) {
            constexpr int C = decltype(fixed)::value;
            Stream* lanes[C];
            for (int c = 0; c < C; ++c) lanes[c] = streams[c];
            for (int64_t i = 0; i < steps; ++i) step<C>(net, lanes);
        });
    }
};

}  // namespace vqspeech
