#include "tools/ps_worker.h"

#include <chrono>
#include <optional>
#include <utility>

#include "core/error.h"
#include "core/thread_pool.h"
#include "dist/worker.h"
#include "tools/data_run.h"
#include "tools/environment.h"
#include "tools/exit_codes.h"
#include "tools/interrupt.h"
#include "tools/lane_body.h"
#include "tools/lane_runner.h"
#include "tools/ps_client.h"
#include "tools/ps_engine.h"
#include "tools/session.h"

namespace tern {
namespace {

using namespace std::chrono_literals;

/// The server's config with what is this machine's own.
Config config_here(const dist::Welcome& terms, const WorkerArgs& args) {
  Config config = parse_config(terms.config, "the server's config");
  if (!args.data.empty()) config.data.dir = args.data;
  config.run.device = args.device;
  config.run.threads = args.threads;
  config.run.time_engines = false;
  return config;
}

/// Elements of a gradient that are sent as soon as they are final, where a layer does not have more: enough for a frame to
/// be worth its header.
constexpr int64_t kBucket = int64_t{64} << 10;

/// Computes work for one server's run: network, data and plans.
class Calculator {
 public:
  Calculator(const dist::Welcome& terms, const Config& config, Device device, const WorkerArgs& args)
      : config_(config), context_(context_options(config_, device)), data_(data::open_run_data(config.data, config.run.seed)),
        pass_(context_, config_, data_.train->shape(), config.model.classes.value_or(static_cast<int>(data_.train->classes().size()))),
        reader_(data_.train, data::loader_options(config)),
        runner_(context_, pass_, {.fold = args.fold, .plan = args.plan}),
        layout_{pass_.store().size(), static_cast<int64_t>(terms.statistics), config.train.micro_batch, config.train.lanes, terms.wire,
                static_cast<int64_t>(terms.top_k)} {
    if (args.overlap && args.fold && device.kind == Device::Kind::cpu && terms.wire != dist::Wire::topk)
      pass_.set_gradient_listener(kBucket, [this](int64_t first) {
        if (ready_) ready_(first);
      });
  }

  dist::Digest model() const { return model_digest(pass_.store()); }
  dist::Digest data() const { return data_digest(*data_.train); }

  using Body = std::shared_ptr<std::vector<std::byte>>;

  /// The result's body. `part` is told from which byte on it is final, while the rest is computed. Mode epoch asks `wanted` before
  /// each lane instead, and gives null when nobody wants the result any more.
  Body compute(const dist::Work& work, const std::function<bool()>& wanted, const std::function<void(const Body&, size_t from)>& part) {
    load(work);
    if (work.steps > 1) return compute_epoch(work, wanted);
    const int64_t pictures = reader_.pictures(work.step_in_epoch);
    if (layout_.wire == dist::Wire::topk) return held_back(work, node(work.step_in_epoch, work.range, pictures, work.loss_scale));
    BodyWriter writer(layout_, work.range, 1, pictures);
    ready_ = [&](int64_t first) { part(writer.body(), writer.write(gradient(), first)); };
    const NodeReport report = node(work.step_in_epoch, work.range, pictures, work.loss_scale);
    ready_ = nullptr;
    return writer.finish(gradient(), std::span(&report, 1));
  }

  /// Reads the pictures that most likely come next, while there is nothing else to do: those of the lanes with which the last
  /// step began, in the step after it.
  void read_ahead() {
    if (!last_ || last_->steps > 1 || last_->step_in_epoch + 1 >= reader_.steps_per_epoch()) return;
    read(last_->step_in_epoch + 1, last_->range);
  }

 private:
  void load(const dist::Work& work) {
    if (!last_ || last_->step != work.step) last_ = {work.step, work.step_in_epoch, work.steps, work.range};
    if (version_ != std::pair{work.run_epoch, work.version}) {
      pass_.store().master.write_bytes(work.parameters->data());
      pass_.weights_changed();
      version_ = {work.run_epoch, work.version};
    }
    epoch_ = work.epoch;
    reader_.set_epoch(work.epoch);
    context_.set_rng_key(config_.run.seed, work.epoch);
  }

  NodeReport node(int64_t step, dist::LaneRange range, int64_t pictures, float loss_scale) {
    const int64_t rows = read(step, range);
    const Tensor scale = loss_scale == 1 ? Tensor() : Tensor::full(context_, {1}, loss_scale);
    return runner_.run(batch_, 0, rows, pictures, range, scale);
  }

  /// Reads the pictures of a step's lanes into batch_, unless they are there. Returns how many there are: of a last, ragged step
  /// maybe none.
  int64_t read(int64_t step, dist::LaneRange range) {
    const Lanes lanes{reader_.pictures(step), config_.train.micro_batch};
    const int64_t first = lanes.begin(range.first), rows = lanes.end(range.end() - 1) - first;
    const bool there = batch_.epoch == epoch_ && batch_.step == step && batch_.first_row == first && batch_.size() == rows;
    if (!there && rows > 0) reader_.read(step, first, rows, batch_, scratch_);
    return rows;
  }

  std::span<const float> gradient() {
    if (context_.device().kind == Device::Kind::cpu) return {runner_.gradient().data<float>(), static_cast<size_t>(layout_.parameters)};
    host_gradient_ = runner_.gradient().to_vector<float>();
    return host_gradient_;
  }

  /// Wire topk: the largest entries of the lane's gradient, or all of it.
  Body held_back(const dist::Work& work, const NodeReport& report) {
    const dist::LaneStep at{work.run_epoch, work.step, work.range.first, work.carried, work.loss_scale};
    if (work.whole) return encode_body(layout_.whole(), residuals_.send_all(at, gradient()), std::span(&report, 1));
    return encode_body(residuals_.send_largest(at, gradient(), static_cast<size_t>(layout_.top_k)), std::span(&report, 1));
  }

  /// Mode epoch: each lane's gradients are added step after step, then the lanes in the tree, so that it does not matter
  /// which worker has which lanes.
  Body compute_epoch(const dist::Work& work, const std::function<bool()>& wanted) {
    const auto length = static_cast<size_t>(layout_.parameters);
    std::vector<std::vector<float>> sums(static_cast<size_t>(work.range.count), std::vector<float>(length));
    std::vector<NodeReport> reports;
    int64_t pictures = 0;
    for (int64_t step = 0; step < work.steps; ++step) pictures += reader_.pictures(step);
    for (int64_t step = 0; step < work.steps; ++step) {
      const Lanes present{reader_.pictures(step), config_.train.micro_batch};
      for (int lane = work.range.first; lane < std::min<int64_t>(work.range.end(), present.count()); ++lane) {
        if (!wanted()) return nullptr;
        reports.push_back(node(step, {lane, 1}, pictures, work.loss_scale));
        const std::span<const float> g = gradient();
        std::vector<float>& sum = sums[static_cast<size_t>(lane - work.range.first)];
        for (size_t i = 0; i < length; ++i) sum[i] += g[i];
      }
    }
    std::vector<dist::LaneRange> leaves;
    std::vector<float*> values;
    for (int lane = 0; lane < work.range.count; ++lane) {
      leaves.push_back({lane, 1});
      values.push_back(sums[static_cast<size_t>(lane)].data());
    }
    const float* all = dist::sum_nodes(work.range.count, leaves, values, layout_.parameters);
    return encode_body(layout_, {all, length}, reports);
  }

  Config config_;
  Context context_;
  data::RunData data_;
  LanePass pass_;
  data::StepReader reader_;
  LaneRunner runner_;
  BodyLayout layout_;
  std::pair<uint64_t, uint64_t> version_{0, 0};
  struct Done {
    uint64_t step;  // of the run
    uint32_t step_in_epoch, steps;
    dist::LaneRange range;
  };
  std::optional<Done> last_;  // the first work of the last step
  int64_t epoch_ = -1;
  data::Batch batch_;
  std::vector<uint8_t> scratch_;
  std::vector<float> host_gradient_;
  dist::Residuals residuals_;
  std::function<void(int64_t)> ready_;  // elements from here on of the gradient that is computed are final
};

/// One worker: a connection and, once the server has said what it trains, a calculator.
class WorkerProgram {
 public:
  WorkerProgram(const WorkerArgs& args, Progress& progress)
      : args_(args), progress_(progress), device_(choose_device({.device = args.device})),
        worker_({.hello = hello()}, args.server, args.security, {}, [this](const std::string& text) { notes_.add(text); }) {}

  int run() {
    progress_.message("connecting to " + args_.server.str());
    while (true) {
      dist::Worker::Next next = worker_.wait(0ms);
      if (next.nothing()) {
        if (calculator_) calculator_->read_ahead();
        next = worker_.wait(200ms);
      }
      notes_.tell(progress_);
      if (next.drained) return end(*next.drained == dist::Drain::Reason::complete ? "the training is complete" : "the server stops", 0);
      if (next.left) return end("left", 128 + InterruptGuard::signal());
      if (next.refused) throw_refusal(*next.refused, "worker");
      if (next.new_terms) set_up(worker_.terms());
      if (next.work) compute(*next.work);
      if (next.offline && *next.offline > args_.reconnect)
        throw PeerLostError("no server at " + args_.server.str() + " for " + std::to_string(args_.reconnect.count() / 1000) + " s");
      if (InterruptGuard::signal() == 0) continue;
      if (next.offline) return end("left", 128 + InterruptGuard::signal());
      if (!std::exchange(leaving_, true)) worker_.leave();
    }
  }

 private:
  dist::Hello hello() const {
    dist::Hello hello;
    hello.name = args_.name;
    hello.device_class = device_class(device_);
    hello.build = build_text();
    hello.threads = static_cast<uint32_t>(args_.threads == 0 ? available_cpus() : args_.threads);
    hello.instance = draw_instance();
    return hello;
  }

  void set_up(const dist::Welcome& terms) {
    const Config config = config_here(terms, args_);
    progress_.message("the server trains " + std::string(name_of(config.model.name)) + " on " + std::string(name_of(config.data.name)) +
                      ", mode " + std::string(dist::name_of(terms.mode)) + "; reading the data");
    try {
      make_synthetic_data(config.data, progress_);
      calculator_.reset();  // before the next one takes memory
      calculator_ = std::make_unique<Calculator>(terms, config, device_, args_);
    } catch (const DataError& error) {
      give_up(dist::Refusal::data_mismatch, error);
    } catch (const ConfigError& error) {
      give_up(dist::Refusal::model_mismatch, error);
    }
    const dist::Digest model = calculator_->model(), data = calculator_->data();
    if (model != terms.model) give_up(dist::Refusal::model_mismatch, ConfigError("the network of the server's config has other parameters here: another version of tern?"));
    if (data != terms.data) give_up(dist::Refusal::data_mismatch, DataError(config.data.dir + ": the training pictures are not those of the server"));
    worker_.ready(model, data);
    progress_.message("ready");
  }

  template <class E>
  [[noreturn]] void give_up(dist::Refusal why, const E& error) {
    worker_.refuse(why, error.what());
    worker_.stop();
    throw E(error);
  }

  void compute(const dist::Work& work) {
    const auto start = std::chrono::steady_clock::now();
    auto body = calculator_->compute(work, [&] {
      worker_.progressed();
      return worker_.wanted(work);
    }, [&](const Calculator::Body& part, size_t from) { worker_.send_part(work, part, from); });
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    worker_.finish(work, std::move(body), seconds / work.range.count);
    lanes_ += work.range.count;
    busy_ += seconds;
    const auto now = std::chrono::steady_clock::now();
    if (now - told_ < 10s) return;
    told_ = now;
    progress_.message("epoch " + std::to_string(work.epoch + 1) + ", step " + std::to_string(work.step_in_epoch + 1) + ": " +
                      std::to_string(lanes_) + " lanes computed, " + std::to_string(static_cast<int>(1000 * busy_ / static_cast<double>(lanes_))) + " ms each");
  }

  int end(const std::string& why, int code) {
    worker_.stop();
    notes_.tell(progress_);
    progress_.message(why + "; " + std::to_string(lanes_) + " lanes computed");
    return code;
  }

  const WorkerArgs& args_;
  Progress& progress_;
  Device device_;
  std::unique_ptr<Calculator> calculator_;
  bool leaving_ = false;
  int64_t lanes_ = 0;
  double busy_ = 0;
  std::chrono::steady_clock::time_point told_{};
  Notes notes_;
  dist::Worker worker_;  // last: its thread uses the others
};

}  // namespace

int run_worker(const WorkerArgs& args, Progress& progress) { return WorkerProgram(args, progress).run(); }

}  // namespace tern
