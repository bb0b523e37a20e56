// A WaveNet packed for sampling: plain structures, the same for every instruction set.
//
// Notation: R residual channels, H half of the gate channels, S skip channels, L layers. Channel
// counts are padded with zeros to multiples of 32, so that no kernel has a remainder to care for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace vqspeech {

constexpr int kPanelRows =
    64;  // of a full panel: eight vectors of accumulators hide the latency of FMA
constexpr int kTileRows = 16;      // panels have a multiple of this many rows
constexpr int kBlockColumns = 32;  // depths are a multiple of this
constexpr int kTileWeights = kTileRows * kBlockColumns;
constexpr int kTaps = 3;         // levels around one pitch period ago
constexpr int kShortestLag = 2;  // the newest of its taps is the newest level there is
constexpr int kLanes = 6;  // streams, or moments of one stream, that share one load of a weight

enum class Mode { fp32, bf16, int8 };

// A matrix in panels of up to kPanelRows rows; a panel in blocks of kBlockColumns columns; a block
// in tiles of kTileRows rows; a tile column by column. One stream passes through a panel once,
// front to back; several streams pass through it tile by tile. fp32 holds float; bf16 holds 16
// bits, see packing.cpp; int8 holds pairs of columns, row by row, with one scale per row.
struct Matrix {
    const void* weights = nullptr;
    const float* scales = nullptr;
    int rows = 0;   // padded
    int depth = 0;  // padded
};

struct Layer {
    int dilation = 1;
    Matrix past, now;             // 2 H rows: eight of the filter, eight of the gate, and so on
    Matrix residual;              // none in the last layer
    const float* bias = nullptr;  // of the residual
};

// Weights as a trained model has them, row-major, one float after another.
struct Weights {
    int levels, residual, half, skip, condition, silence;
    std::vector<int> dilations;
    const float* embedding;         // (levels, R)
    const float* taps;              // (kTaps, levels + 1, R), or none
    const float* gate;              // (L, 2 R, 2 H): past first
    const float* residual_weight;   // (L - 1, H, R)
    const float* residual_bias;     // (L - 1, R)
    const float* skip_weight;       // (S, L H)
    const float* skip_bias;         // (S,)
    const float* hidden_weight;     // (S, S)
    const float* hidden_bias;       // (S,)
    const float* output_weight;     // (levels, S)
    const float* output_bias;       // (levels,)
    const float* condition_weight;  // (L 2 H, condition)
    const float* condition_bias;    // (L 2 H,)
};

class Network {
  public:
    Network(const Weights& weights, Mode mode);

    Mode mode;
    int levels, silence, condition_channels;
    int residual, half, skip, outputs, conditions;  // padded
    std::vector<Layer> layers;
    Matrix skip_matrix, hidden_matrix, output_matrix;
    Matrix condition_matrix;  // fp32 in every mode: it is used once a frame
    const float* embedding;   // (levels, residual)
    const float* taps;        // (kTaps, levels + 1, residual), or none
    const float *skip_bias, *hidden_bias, *output_bias, *condition_bias;
    size_t value_bytes() const { return mode == Mode::int8 ? sizeof(int16_t) : sizeof(float); }

  private:
    struct Release {
        void operator()(std::byte* memory) const;
    };
    std::unique_ptr<std::byte[], Release> memory_;
};

// Largest magnitude of an activation of an int8 product `depth` deep: 127 times it, added up, stays
// in 32 bits.
constexpr int largest_activation(int depth) {
    return 127LL * 32767 * depth <= INT32_MAX ? 32767
                                              : static_cast<int>(INT32_MAX / (127LL * depth));
}

}  // namespace vqspeech
