// Products of a packed matrix with one to kLanes vectors, in three arithmetics.
//
// Each output row is added up column after column in one accumulator, whatever the number of
// vectors and whoever computes it: a stream gets the same bits alone, in company, and on one thread
// or two.
#pragma once

#include <type_traits>

#include "network.h"

#ifdef __clang__
#define VQSPEECH_UNROLL _Pragma("clang loop unroll(full)")
#else
#define VQSPEECH_UNROLL _Pragma("GCC unroll 16")
#endif

namespace vqspeech {

// An activation vector: `scale` times the values (1 where the values are float).
template <class Value>
struct Vector {
    const Value* values;
    float scale;
};

// Columns of a tile in one cache line.
template <class Weight>
constexpr int kLineColumns = 64 / (kTileRows * static_cast<int>(sizeof(Weight)));

template <class Isa>
struct Fp32 {
    using Weight = float;
    using Value = float;
    using Sum = typename Isa::Floats;

    static Sum zeros() { return Isa::zeros(); }

    // sums += kLineColumns columns of V / 2 tiles, times the vectors from column `k` on.
    template <int V, int C>
    static void add_line(const Weight* line, const Value* const (&values)[C], int k,
                         Sum (&sums)[V][C]) {
        for (int i = 0; i < kLineColumns<Weight>; ++i) {
            typename Isa::Floats rows[V];
            VQSPEECH_UNROLL for (int v = 0; v < V; ++v) rows[v] =
                Isa::load(line + v / 2 * kTileWeights + i * kTileRows + v % 2 * 8);
            VQSPEECH_UNROLL for (int c = 0; c < C; ++c) {
                const auto x = Isa::all(values[c][k + i]);
                VQSPEECH_UNROLL for (int v = 0; v < V; ++v) sums[v][c] =
                    Isa::fma(rows[v], x, sums[v][c]);
            }
        }
    }
    static typename Isa::Floats finish(Sum sum, const Matrix&, int, float) { return sum; }
};

template <class Isa>
struct Bf16 {
    using Weight = uint16_t;
    using Value = float;
    using Sum = typename Isa::Floats;

    static Sum zeros() { return Isa::zeros(); }

    template <int V, int C>
    static void add_line(const Weight* line, const Value* const (&values)[C], int k,
                         Sum (&sums)[V][C]) {
        VQSPEECH_UNROLL for (int i = 0; i < kLineColumns<Weight>; ++i) {
            typename Isa::Floats rows[V];
            VQSPEECH_UNROLL for (int v = 0; v < V; v += 2) {
                const Weight* pairs = line + v / 2 * kTileWeights + i * kTileRows;
                const auto words = Isa::load_words(reinterpret_cast<const uint32_t*>(pairs));
                rows[v] = Isa::from_bits(Isa::template shift_left<16>(words));
                rows[v + 1] = Isa::from_bits(words);  // packed with the low half in mind
            }
            VQSPEECH_UNROLL for (int c = 0; c < C; ++c) {
                const auto x = Isa::all(values[c][k + i]);
                VQSPEECH_UNROLL for (int v = 0; v < V; ++v) sums[v][c] =
                    Isa::fma(rows[v], x, sums[v][c]);
            }
        }
    }
    static typename Isa::Floats finish(Sum sum, const Matrix&, int, float) { return sum; }
};

// 8-bit weights, 16-bit activations, exact 32-bit sums.
template <class Isa>
struct Int8 {
    using Weight = int8_t;
    using Value = int16_t;
    using Sum = typename Isa::Ints;

    static Sum zeros() { return Isa::zero_ints(); }

    template <int V, int C>
    static void add_line(const Weight* line, const Value* const (&values)[C], int k,
                         Sum (&sums)[V][C]) {
        VQSPEECH_UNROLL for (int i = 0; i < kLineColumns<Weight>; i += 2)
            VQSPEECH_UNROLL for (int v = 0; v < V; ++v) {
            const Weight* pairs = line + v / 2 * kTileWeights + i * kTileRows + v % 2 * 16;
            const auto rows = Isa::load_pairs(pairs);
            VQSPEECH_UNROLL for (int c = 0; c < C; ++c) sums[v][c] =
                Isa::add_products(sums[v][c], rows, Isa::all_pairs(values[c] + k + i));
        }
    }
    static typename Isa::Floats finish(Sum sum, const Matrix& matrix, int row, float scale) {
        const auto scales = Isa::mul(Isa::load(matrix.scales + row), Isa::all(scale));
        return Isa::mul(Isa::to_floats(sum), scales);
    }
};

// Sums of V / 2 tiles for C vectors.
template <class Math, int V, int C>
using Sums = typename Math::Sum[V][C];

// A panel and the vectors that it is multiplied with; `after` are the weights that will be wanted
// next.
template <class Math, int C>
struct Factors {
    const typename Math::Weight* panel;
    const typename Math::Weight* after;
    const typename Math::Value* values[C];
};

// Adds columns [first, first + depth) of V / 2 tiles, the first of which is at `tile` in panels
// `height` high, to sums that are 0 when `fresh`; one pair of factors after another. Kept apart:
// inlined, it would have to share the registers with its callers.
template <class Isa, class Math, int V, int C, bool fresh, int N>
[[gnu::noinline]] void add_columns(const Factors<Math, C> (&factors)[N], int height, int tile,
                                   int first, int depth, Sums<Math, V, C>& sums) {
    const size_t stride = static_cast<size_t>(height) * kBlockColumns;
    Sums<Math, V, C> part;  // in registers
    VQSPEECH_UNROLL for (int v = 0; v < V; ++v) VQSPEECH_UNROLL for (int c = 0; c < C; ++c)
        part[v][c] = fresh ? Math::zeros() : sums[v][c];
    constexpr int columns = kLineColumns<typename Math::Weight>;
    const typename Math::Weight* start[N];
    for (int n = 0; n < N; ++n)
        start[n] = factors[n].panel + first / kBlockColumns * stride + tile * kTileWeights;
    VQSPEECH_UNROLL for (int n = 0; n < N; ++n) {
        const auto* block = start[n];
        const auto* end = block + depth / kBlockColumns * stride;
        // Tiles are too short for the processor to foresee: the next block is fetched while this
        // one is used, and after the last one the first of what follows, be it the other factors,
        // the next tiles or another panel.
        const auto* following = factors[N - 1].after;
        if (n + 1 < N)
            following = start[n + 1];
        else if (tile + V / 2 < height / kTileRows)
            following = start[0] + V / 2 * kTileWeights;
        for (int k = first; block != end; k += kBlockColumns, block += stride) {
            const auto* next = block + stride == end ? following : block + stride;
            for (int i = 0; i < kBlockColumns; i += columns) {
                const auto* line = block + i * kTileRows;
                for (int v = 0; v < V; v += 2)
                    Isa::prefetch(next + i * kTileRows + v / 2 * kTileWeights);
                Math::template add_line<V, C>(line, factors[n].values, k + i, part);
            }
        }
    }
    VQSPEECH_UNROLL for (int v = 0; v < V; ++v) VQSPEECH_UNROLL for (int c = 0; c < C; ++c)
        sums[v][c] = part[v][c];
}

// As many accumulators as hide the latency of FMA, as few as fit into sixteen registers.
template <int C>
constexpr int kWidest = C == 1   ? 8
                        : C <= 3 ? 4
                                 : 2;

// Calls work(vectors, tile) to cover a panel with tiles side by side; `vectors` is an
// integral_constant.
template <int C, class Work>
inline void for_tiles(int height, Work work) {
    int v = 0;
    for (; v + kWidest<C> <= height / 8; v += kWidest<C>)
        work(std::integral_constant<int, kWidest<C>>{}, v / 2);
    if constexpr (kWidest<C> > 4)
        for (; v + 4 <= height / 8; v += 4) work(std::integral_constant<int, 4>{}, v / 2);
    if constexpr (kWidest<C> > 2)
        for (; v + 2 <= height / 8; v += 2) work(std::integral_constant<int, 2>{}, v / 2);
}

inline int panels(const Matrix& matrix) {
    return (matrix.rows + kPanelRows - 1) / kPanelRows;
}

inline int panel_height(const Matrix& matrix, int panel) {
    const int left = matrix.rows - panel * kPanelRows;
    return left < kPanelRows ? left : kPanelRows;
}

template <class Math>
inline const typename Math::Weight* panel_weights(const Matrix& matrix, int panel) {
    return static_cast<const typename Math::Weight*>(matrix.weights) +
           static_cast<size_t>(panel) * kPanelRows * matrix.depth;
}

// Calls work(vectors, panel, height, tile, row) for tiles that cover panels [first, last).
template <int C, class Work>
inline void for_panels(const Matrix& matrix, int first, int last, Work work) {
    for (int panel = first; panel < last; ++panel) {
        const int height = panel_height(matrix, panel);
        for_tiles<C>(height, [&](auto width, int tile) {
            work(width, panel, height, tile, panel * kPanelRows + tile * kTileRows);
        });
    }
}

template <class Math, int C>
inline Factors<Math, C> factors(const Matrix& matrix, int panel,
                                const Vector<typename Math::Value> (&vectors)[C]) {
    const auto* weights = panel_weights<Math>(matrix, panel);
    const size_t size = static_cast<size_t>(panel_height(matrix, panel)) * matrix.depth;
    Factors<Math, C> found{weights, weights + size, {}};
    for (int c = 0; c < C; ++c) found.values[c] = vectors[c].values;
    return found;
}

// Calls finish(column, row, eight rows from `row`, the next eight) for the rows of panels [first,
// last).
template <class Isa, class Math, int C, class Finish>
inline void multiply(const Matrix& matrix, const Vector<typename Math::Value> (&vectors)[C],
                     int first, int last, Finish finish) {
    for_panels<C>(matrix, first, last, [&](auto width, int panel, int height, int tile, int row) {
        constexpr int V = decltype(width)::value;
        Sums<Math, V, C> sums;
        const Factors<Math, C> both[1] = {factors<Math, C>(matrix, panel, vectors)};
        add_columns<Isa, Math, V, C, true>(both, height, tile, 0, matrix.depth, sums);
        for (int c = 0; c < C; ++c)
            for (int v = 0; v < V; v += 2) {
                const int at = row + 8 * v;
                finish(c, at, Math::finish(sums[v][c], matrix, at, vectors[c].scale),
                       Math::finish(sums[v + 1][c], matrix, at + 8, vectors[c].scale));
            }
    });
}

}  // namespace vqspeech
