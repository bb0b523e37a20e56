// Packing of weights: panels in the order in which one stream reads them, so that the prefetch of
// one matrix runs on into the next.
#ifdef __linux__
#include <sys/mman.h>
#endif

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <new>

#include "gate.h"
#include "network.h"

namespace vqspeech {
namespace {

constexpr size_t kLine = 64;
constexpr size_t kHugePage = size_t{2} << 20;

int padded(int n, int multiple) {
    return (n + multiple - 1) / multiple * multiple;
}

// Hands out memory front to back; a first pass without memory only counts.
class Arena {
  public:
    explicit Arena(std::byte* memory) : memory_(memory) {}

    template <class T>
    T* take(size_t count) {
        T* place = memory_ ? reinterpret_cast<T*>(memory_ + used_) : nullptr;
        used_ += (count * sizeof(T) + kLine - 1) / kLine * kLine;
        return place;
    }
    size_t used() const { return used_; }
    bool counts_only() const { return memory_ == nullptr; }

  private:
    std::byte* memory_;
    size_t used_ = 0;
};

// bf16 in pairs: the low half of 32 bits is row r, the high half row r + 8. The kernel reads the
// high one without clearing the low bits, so it is chosen to be nearest with them there.
uint32_t bf16_pair(float low, float high) {
    auto bits = [](float value) {
        uint32_t word;
        std::memcpy(&word, &value, sizeof word);
        return word;
    };
    const uint32_t word = bits(low);
    const uint32_t below = (word + 0x7fffu + (word >> 16 & 1u)) >> 16;
    // Bits of floats of one sign are ordered like their magnitudes.
    const uint32_t magnitude = bits(high) & 0x7fffffffu, sign = bits(high) & 0x80000000u;
    const uint32_t step = 0x10000u;
    uint32_t nearest = magnitude < below ? 0 : (magnitude - below + step / 2) / step;
    return sign | nearest * step | below;
}

// `weight(row, column)` is asked within the padded sizes.
template <class Weight>
Matrix pack(Arena& arena, Mode mode, int rows, int depth, Weight weight) {
    Matrix matrix;
    matrix.rows = rows;
    matrix.depth = depth;
    const size_t count = static_cast<size_t>(rows) * depth;
    float* floats = mode == Mode::fp32 ? arena.take<float>(count) : nullptr;
    uint32_t* pairs = mode == Mode::bf16 ? arena.take<uint32_t>(count / 2) : nullptr;
    int8_t* bytes = mode == Mode::int8 ? arena.take<int8_t>(count) : nullptr;
    float* scales = mode == Mode::int8 ? arena.take<float>(rows) : nullptr;
    if (arena.counts_only()) return matrix;
    for (int row = 0; mode == Mode::int8 && row < rows; ++row) {
        float largest = 0;
        for (int k = 0; k < depth; ++k) largest = std::max(largest, std::abs(weight(row, k)));
        scales[row] = largest / 127;
    }
    const auto pack_tile = [&](int row, int column) {
        for (int k = column; k < column + kBlockColumns; k += mode == Mode::int8 ? 2 : 1)
            for (int r = row; r < row + kTileRows; ++r) {
                if (mode == Mode::fp32) *floats++ = weight(r, k);
                if (mode == Mode::bf16 && r < row + 8)
                    *pairs++ = bf16_pair(weight(r, k), weight(r + 8, k));
                for (int i = k; mode == Mode::int8 && i < k + 2; ++i)
                    *bytes++ = static_cast<int8_t>(
                        scales[r] > 0 ? std::lround(weight(r, i) / scales[r]) : 0);
            }
    };
    for (int panel = 0; panel < rows; panel += kPanelRows)
        for (int column = 0; column < depth; column += kBlockColumns)
            for (int row = panel; row < std::min(rows, panel + kPanelRows); row += kTileRows)
                pack_tile(row, column);
    const size_t size = mode == Mode::fp32 ? 4 : mode == Mode::bf16 ? 2 : 1;
    auto* end = mode == Mode::fp32   ? reinterpret_cast<std::byte*>(floats)
                : mode == Mode::bf16 ? reinterpret_cast<std::byte*>(pairs)
                                     : reinterpret_cast<std::byte*>(bytes);
    matrix.weights = end - count * size;
    matrix.scales = scales;
    return matrix;
}

const float* copy(Arena& arena, const float* source, int given, int length, float rest = 0) {
    float* place = arena.take<float>(length);
    if (place) {
        std::copy(source, source + given, place);
        std::fill(place + given, place + length, rest);
    }
    return place;
}

const float* copy_rows(Arena& arena, const float* source, int rows, int given, int length) {
    const float* first = nullptr;
    for (int row = 0; row < rows; ++row) {
        const float* place = copy(arena, source + row * size_t(given), given, length);
        if (row == 0) first = place;
    }
    return first;
}

// Row of a gate matrix to row of the model, or -1: eight rows of the filter alternate with eight of
// the gate.
int gate_row(int row, int half) {
    const int channel = row / 16 * 8 + row % 8;
    if (channel >= half) return -1;
    return row % 16 < 8 ? channel : half + channel;
}

float gate_factor(int row) {
    return row % 16 < 8 ? kFilterFactor : kGateFactor;
}

void lay_out(Network& net, const Weights& w, Arena& arena) {
    const int L = static_cast<int>(w.dilations.size()), R = w.residual, H = w.half, S = w.skip;
    auto tap = [&](int layer, bool now) {
        const float* gate = w.gate + static_cast<size_t>(layer) * 2 * R * 2 * H;
        return [=](int row, int k) {
            const int from = gate_row(row, H);
            if (from < 0 || k >= R) return 0.f;
            return gate_factor(row) * gate[(k + (now ? R : 0)) * size_t(2 * H) + from];
        };
    };
    for (int l = 0; l < L; ++l) {
        Layer& layer = net.layers[l];
        layer.dilation = w.dilations[l];
        layer.now = pack(arena, net.mode, 2 * net.half, net.residual, tap(l, true));
        if (l == L - 1) continue;
        const float* residual = w.residual_weight + static_cast<size_t>(l) * H * R;
        layer.residual = pack(arena, net.mode, net.residual, net.half, [=](int row, int k) {
            return row < R && k < H ? residual[k * size_t(R) + row] : 0.f;
        });
        layer.bias = copy(arena, w.residual_bias + static_cast<size_t>(l) * R, R, net.residual);
    }
    const int half = net.half;
    net.skip_matrix = pack(arena, net.mode, net.skip, L * half, [&](int row, int k) {
        const bool inside = row < S && k % half < H;
        return inside ? w.skip_weight[row * size_t(L * H) + k / half * H + k % half] : 0.f;
    });
    net.hidden_matrix = pack(arena, net.mode, net.skip, net.skip, [&](int row, int k) {
        return row < S && k < S ? w.hidden_weight[row * size_t(S) + k] : 0.f;
    });
    net.output_matrix = pack(arena, net.mode, net.outputs, net.skip, [&](int row, int k) {
        return row < w.levels && k < S ? w.output_weight[row * size_t(S) + k] : 0.f;
    });
    net.skip_bias = copy(arena, w.skip_bias, S, net.skip);
    net.hidden_bias = copy(arena, w.hidden_bias, S, net.skip);
    net.output_bias = copy(arena, w.output_bias, w.levels, net.outputs);
    for (int l = 0; l < L; ++l)
        net.layers[l].past = pack(arena, net.mode, 2 * half, net.residual, tap(l, false));
    auto condition_row = [&](int row) {
        const int from = gate_row(row % (2 * half), H);
        return from < 0 ? -1 : row / (2 * half) * 2 * H + from;
    };
    net.condition_matrix =
        pack(arena, Mode::fp32, L * 2 * half, net.conditions, [&](int row, int k) {
            const int from = condition_row(row);
            const bool inside = from >= 0 && k < w.condition;
            const size_t at = from * size_t(w.condition) + k;
            return inside ? gate_factor(row) * w.condition_weight[at] : 0.f;
        });
    float* bias = arena.take<float>(L * 2 * half);
    net.condition_bias = bias;
    net.embedding = copy_rows(arena, w.embedding, w.levels, R, net.residual);
    net.taps = w.taps ? copy_rows(arena, w.taps, kTaps * (w.levels + 1), R, net.residual) : nullptr;
    if (arena.counts_only()) return;
    for (int row = 0; row < L * 2 * half; ++row) {
        const int from = condition_row(row);
        bias[row] = from < 0 ? 0.f : gate_factor(row) * w.condition_bias[from];
    }
}

}  // namespace

void Network::Release::operator()(std::byte* memory) const {
    ::operator delete(memory, std::align_val_t{kHugePage});
}

Network::Network(const Weights& w, Mode mode)
    : mode(mode),
      levels(w.levels),
      silence(w.silence),
      condition_channels(w.condition),
      residual(padded(w.residual, kBlockColumns)),
      half(padded(w.half, kBlockColumns)),
      skip(padded(w.skip, kBlockColumns)),
      outputs(padded(w.levels, kTileRows)),
      conditions(padded(w.condition, kBlockColumns)),
      layers(w.dilations.size()) {
    Arena counter(nullptr);
    lay_out(*this, w, counter);
    const size_t bytes = (counter.used() + kHugePage - 1) / kHugePage * kHugePage;
    memory_.reset(static_cast<std::byte*>(::operator new(bytes, std::align_val_t{kHugePage})));
#ifdef MADV_HUGEPAGE
    // Thousands of small pages would miss in the first translation buffer; without large ones all
    // is only slower.
    madvise(memory_.get(), bytes, MADV_HUGEPAGE);
#endif
    Arena arena(memory_.get());
    lay_out(*this, w, arena);
}

}  // namespace vqspeech
