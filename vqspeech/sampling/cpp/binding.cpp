// The Python module vqspeech.sampling._native: checks what comes in, then lets go of the
// interpreter's lock.
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <stdexcept>
#include <string>

#include "sampler.h"

namespace py = pybind11;

namespace vqspeech {
namespace {

using Floats = py::array_t<float, py::array::c_style | py::array::forcecast>;
using Levels = py::array_t<int32_t, py::array::c_style | py::array::forcecast>;
using Lags = py::array_t<int64_t, py::array::c_style | py::array::forcecast>;

[[noreturn]] void refuse(const std::string& what) {
    throw std::invalid_argument(what);
}

// The array's data, once its shape is what it has to be.
const float* checked(const py::dict& arrays, const char* name, std::vector<py::ssize_t> shape,
                     std::vector<Floats>& kept) {
    auto array = py::cast<Floats>(arrays[name]);
    if (std::vector<py::ssize_t>(array.shape(), array.shape() + array.ndim()) != shape)
        refuse(std::string(name) + ": not the shape that the other weights ask for");
    kept.push_back(array);
    return kept.back().data();
}

Mode mode_named(const std::string& name) {
    if (name == "fp32") return Mode::fp32;
    if (name == "bf16") return Mode::bf16;
    if (name == "int8") return Mode::int8;
    refuse("no mode " + name);
}

Help help_named(const std::string& name) {
    if (name == "never") return Help::never;
    if (name == "measured") return Help::measured;
    if (name == "always") return Help::always;
    refuse("no help " + name);
}

struct PyNetwork {
    PyNetwork(const py::dict& arrays, std::vector<int> dilations, int silence,
              const std::string& mode, const std::string& instructions) {
        const auto shape = [&](const char* name, int axis) {
            const auto array = py::cast<Floats>(arrays[name]);
            if (axis >= array.ndim()) refuse(std::string(name) + ": too few dimensions");
            return static_cast<int>(array.shape(axis));
        };
        std::vector<Floats> kept;
        Weights w{};
        w.levels = shape("embedding", 0);
        w.residual = shape("embedding", 1);
        w.half = shape("gate", 2) / 2;
        w.skip = shape("skip", 0);
        w.condition = shape("condition", 1);
        w.silence = silence;
        w.dilations = dilations;
        const int L = static_cast<int>(dilations.size()), R = w.residual, H = w.half, S = w.skip;
        for (int dilation : dilations)
            if (dilation < 1) refuse("a dilation is below 1");
        if (L < 1 || w.levels < 1 || R < 1 || H < 1 || S < 1 || silence < 0 || silence >= w.levels)
            refuse("a size is below 1, or silence is no level");
        w.embedding = checked(arrays, "embedding", {w.levels, R}, kept);
        if (arrays.contains("taps"))
            w.taps = checked(arrays, "taps", {kTaps, w.levels + 1, R}, kept);
        w.gate = checked(arrays, "gate", {L, 2 * R, 2 * H}, kept);
        w.residual_weight = checked(arrays, "residual", {L - 1, H, R}, kept);
        w.residual_bias = checked(arrays, "residual_bias", {L - 1, R}, kept);
        w.skip_weight = checked(arrays, "skip", {S, L * H}, kept);
        w.skip_bias = checked(arrays, "skip_bias", {S}, kept);
        w.hidden_weight = checked(arrays, "hidden", {S, S}, kept);
        w.hidden_bias = checked(arrays, "hidden_bias", {S}, kept);
        w.output_weight = checked(arrays, "output", {w.levels, S}, kept);
        w.output_bias = checked(arrays, "output_bias", {w.levels}, kept);
        w.condition_weight = checked(arrays, "condition", {L * 2 * H, w.condition}, kept);
        w.condition_bias = checked(arrays, "condition_bias", {L * 2 * H}, kept);
        network = std::make_shared<const Network>(w, mode_named(mode));
        const bool portable = instructions == "portable";
        loops = portable ? nullptr : avx2_loops(network->mode);
        if (!loops && instructions == "avx2") refuse("this processor has no AVX2 and FMA");
        if (!loops) loops = portable_loops(network->mode);
    }

    std::shared_ptr<const Network> network;
    const Loops* loops;
};

class PySampler {
  public:
    PySampler(const PyNetwork& network, int hop, int threads, double inverse_temperature,
              double top_p, const std::string& help)
        : network_(network.network),
          hop_(hop),
          choice_{static_cast<float>(inverse_temperature), static_cast<float>(top_p)},
          sampler_(network_, *network.loops, threads, help_named(help)) {
        if (hop < 1) refuse("hop is below 1");
    }

    void add(const Floats& frames, const Floats& uniforms, const std::optional<Levels>& given,
             const std::optional<Lags>& lags) {
        if (frames.ndim() != 2 || frames.shape(1) != network_->condition_channels)
            refuse("frames are not (frames, condition channels)");
        const auto samples = uniforms.size();
        if (samples > frames.shape(0) * hop_) refuse("more samples than the frames cover");
        if (lags.has_value() != (network_->taps != nullptr))
            refuse("lags go with pitch taps and with nothing else");
        if (lags && lags->size() != frames.shape(0)) refuse("not as many lags as frames");
        Kept kept{frames, uniforms, Levels(samples), Levels(0), Floats(0), lags.value_or(Lags(0))};
        Task task{};
        task.frames = kept.frames.data();
        task.hop = hop_;
        if (lags) task.lags = kept.lags.data();
        task.uniforms = kept.uniforms.data();
        task.drawn = kept.drawn.mutable_data();
        task.samples = samples;
        task.choice = choice_;
        if (given) {
            kept.given = *given;
            if (kept.given.size() != samples) refuse("not as many given levels as samples");
            for (py::ssize_t i = 0; i < samples; ++i)
                if (kept.given.data()[i] < 0 || kept.given.data()[i] >= network_->levels)
                    refuse("a given level is out of range");
            kept.logits = Floats({samples, static_cast<py::ssize_t>(network_->levels)});
            task.given = kept.given.data();
            task.logits = kept.logits.mutable_data();
        }
        kept_.push_back(kept);
        sampler_.add(task);
    }

    void advance(int64_t samples) {
        const py::gil_scoped_release unlocked;
        sampler_.advance(samples);
    }

    // Without copying: (samples,), valid up to `time`.
    Levels drawn(size_t stream) const { return kept_.at(stream).drawn; }
    Floats logits(size_t stream) const { return kept_.at(stream).logits; }
    int64_t time(size_t stream) const {
        static_cast<void>(kept_.at(stream));
        return sampler_.time(stream);
    }

  private:
    struct Kept {
        Floats frames, uniforms;
        Levels drawn, given;
        Floats logits;
        Lags lags;
    };
    std::shared_ptr<const Network> network_;
    int hop_;
    Choice choice_;
    std::vector<Kept> kept_;
    Sampler sampler_;
};

}  // namespace
}  // namespace vqspeech

PYBIND11_MODULE(_native, m) {
    using namespace vqspeech;
    m.doc() = "WaveNet sampling in C++; see vqspeech.sampling.native";
    m.def("has_avx2", [] { return avx2_loops(Mode::fp32) != nullptr; });
    py::class_<PyNetwork>(m, "Network")
        .def(py::init<const py::dict&, std::vector<int>, int, const std::string&,
                      const std::string&>(),
             py::arg("arrays"), py::arg("dilations"), py::arg("silence"), py::arg("mode"),
             py::arg("instructions") = "best");
    py::class_<PySampler>(m, "Sampler")
        .def(py::init<const PyNetwork&, int, int, double, double, const std::string&>(),
             py::arg("network"), py::arg("hop"), py::arg("threads"), py::arg("inverse_temperature"),
             py::arg("top_p"), py::arg("help") = "measured")
        .def("add", &PySampler::add, py::arg("frames"), py::arg("uniforms"),
             py::arg("given") = py::none(), py::arg("lags") = py::none())
        .def("advance", &PySampler::advance, py::arg("samples"))
        .def("drawn", &PySampler::drawn, py::arg("stream"))
        .def("logits", &PySampler::logits, py::arg("stream"))
        .def("time", &PySampler::time, py::arg("stream"));
}
