#include "sampler.h"

#include <time.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <system_error>
#include <thread>

#ifdef __linux__
#include <sched.h>
#endif

#include "duet.h"

namespace vqspeech {
namespace {

constexpr size_t kLine = 64;

// A step smaller than this many multiplications is over before two threads have agreed who does
// what.
constexpr int64_t kWorthTwoThreads = 200'000;

int64_t multiplications(const Network& net) {
    const int64_t layers = static_cast<int64_t>(net.layers.size());
    const int64_t layer = int64_t{net.half} * (4 * net.residual + net.residual + net.skip);
    return layers * layer + int64_t{net.skip} * (net.skip + net.outputs);
}

// Makes the helper, which calls it, take only time that nothing else wants, and keep off `core`,
// that of the thread it helps.
void stand_back([[maybe_unused]] int core) {
#ifdef __linux__
    const sched_param none{};
    sched_setscheduler(0, SCHED_IDLE, &none);
    cpu_set_t cores;
    if (core < 0 || sched_getaffinity(0, sizeof cores, &cores) != 0) return;
    CPU_CLR(core, &cores);
    if (CPU_COUNT(&cores) > 0) sched_setaffinity(0, sizeof cores, &cores);
#endif
}

int current_core() {
#ifdef __linux__
    return sched_getcpu();
#else
    return -1;
#endif
}

// Processor time of the calling thread.
double thread_seconds() {
    timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// False when the system has no thread left.
template <class Work>
bool start_thread(std::vector<std::thread>& threads, const Work& work) {
    threads.reserve(threads.size() + 1);
    try {
        threads.emplace_back(work);
    } catch (const std::system_error&) {
        return false;
    }
    return true;
}

}  // namespace

void Memory::Release::operator()(std::byte* memory) const {
    ::operator delete(memory, std::align_val_t{kLine});
}

Memory::Memory(size_t bytes) {
    const size_t whole = (bytes + kLine) / kLine * kLine;
    bytes_.reset(static_cast<std::byte*>(::operator new(whole, std::align_val_t{kLine})));
    std::memset(bytes_.get(), 0, whole);
}

Stream::Stream(const Network& net, const Task& task)
    : task(task),
      level(net.silence),
      condition(sizeof(float) * (net.condition_matrix.rows + net.conditions)),
      x(sizeof(float) * net.residual),
      x_values(net.value_bytes() * net.residual),
      gates(net.value_bytes() * net.layers.size() * net.half),
      hidden(sizeof(float) * 2 * net.skip),
      hidden_values(net.value_bytes() * net.skip),
      logits(sizeof(float) * net.outputs),
      order(net.levels) {
    for (const Layer& layer : net.layers) {
        rings.push_back({Memory(net.value_bytes() * layer.dilation * net.residual),
                         Memory(sizeof(float) * layer.dilation)});
        partials.push_back({Memory(sizeof(float) * kLanes * 2 * net.half)});
    }
}

Duet::Duet(const Network& net, Stream& stream, int64_t steps)
    : network(net),
      stream(stream),
      end(stream.time + steps),
      past_until(new std::atomic<int64_t>[net.layers.size()]()),
      skip(sizeof(float) * net.skip),
      hidden(sizeof(float) * net.skip),
      logits(sizeof(float) * net.outputs),
      main_values(net.value_bytes() * net.skip),
      helper_values(net.value_bytes() * net.skip) {
    for (size_t l = 0; l < net.layers.size(); ++l)
        partials.push_back({Memory(sizeof(float) * kLanes * 2 * net.half)});
    // Both sides should take equally long. The past tap is cheaper: its weights serve several
    // moments.
    const int64_t layers = static_cast<int64_t>(net.layers.size());
    const int64_t path = layers * net.half * int64_t{3} * net.residual;
    const int64_t past = layers * net.half * int64_t{2} * net.residual / 3;
    const int64_t panel = int64_t{kPanelRows} * layers * net.half;
    const int all = panels(net.skip_matrix);
    main_panels = 0;
    while (main_panels < all &&
           path + (main_panels + 1) * panel <= past + (all - main_panels) * panel)
        ++main_panels;
}

Sampler::Sampler(std::shared_ptr<const Network> network, const Loops& loops, int threads, Help help)
    : network_(std::move(network)), loops_(loops), threads_(std::max(1, threads)), help_(help) {}

void Sampler::add(const Task& task) {
    tasks_.push_back(task);
    streams_.emplace_back();
    times_.push_back(0);
}

void Sampler::advance(int64_t samples) {
    const size_t most = static_cast<size_t>(threads_) * kLanes;
    while (active_.size() < most && next_ < tasks_.size()) {
        if (tasks_[next_].samples > 0) {
            streams_[next_] = std::make_shared<Stream>(*network_, tasks_[next_]);
            active_.push_back(next_);
        }
        ++next_;
    }
    const bool large = multiplications(*network_) >= kWorthTwoThreads;
    if (active_.size() == 1 && threads_ > 1 && large && help_ != Help::never) {
        const std::shared_ptr<Stream>& stream = streams_[active_[0]];
        samples = std::min(samples, stream->task.samples - stream->time);
        if (help_ == Help::always)
            run_helped(stream, samples);
        else
            run_measured(stream, samples);
    } else {
        const size_t groups = std::min(active_.size(), static_cast<size_t>(threads_));
        std::vector<std::vector<Stream*>> dealt(groups);
        for (size_t i = 0; i < active_.size(); ++i)
            dealt[i % groups].push_back(streams_[active_[i]].get());
        std::vector<std::thread> others;
        size_t started = 1;
        for (; started < groups; ++started) {
            const auto work = [this, &group = dealt[started], samples] {
                run_group(group, samples);
            };
            if (!start_thread(others, work)) break;
        }
        if (groups > 0) run_group(dealt[0], samples);
        for (std::thread& other : others) other.join();
        for (; started < groups; ++started) run_group(dealt[started], samples);
    }
    for (size_t i : active_) {
        times_[i] = streams_[i]->time;
        if (streams_[i]->finished()) streams_[i].reset();
    }
    const auto finished = [&](size_t i) { return !streams_[i]; };
    active_.erase(std::remove_if(active_.begin(), active_.end(), finished), active_.end());
}

void Sampler::run_group(std::vector<Stream*> group, int64_t samples) const {
    while (samples > 0 && !group.empty()) {
        int64_t together = samples;
        for (const Stream* s : group) together = std::min(together, s->task.samples - s->time);
        loops_.run(*network_, group.data(), static_cast<int>(group.size()), together);
        samples -= together;
        const auto finished = [](const Stream* s) { return s->finished(); };
        group.erase(std::remove_if(group.begin(), group.end(), finished), group.end());
    }
}

void Sampler::run_measured(const std::shared_ptr<Stream>& stream, int64_t samples) {
    while (samples > 0) {
        const int64_t piece = std::min(samples, trial_.most());
        const double begun = thread_seconds();
        if (trial_.helped())
            run_helped(stream, piece);
        else
            run_group({stream.get()}, piece);
        trial_.took(piece, thread_seconds() - begun);
        samples -= piece;
    }
}

void Sampler::run_helped(const std::shared_ptr<Stream>& stream, int64_t samples) const {
    const auto duet = std::make_shared<Duet>(*network_, *stream, samples);
    std::vector<std::thread> helper;
    start_thread(helper,
                 [core = current_core(), &loops = loops_, network = network_, stream, duet] {
                     stand_back(core);
                     loops.help(*duet);
                 });
    loops_.lead(*duet);  // alone for as long as nobody offers help
    duet->stop.store(true);
    // Where other work has the cores the helper may wait long for a moment to end in: nobody waits
    // for it.
    for (std::thread& thread : helper) thread.detach();
}

}  // namespace vqspeech
