#include "tools/ps_engine.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <numeric>
#include <thread>
#include <utility>

#include "core/error.h"
#include "tools/environment.h"

namespace tern {
namespace {

using namespace std::chrono_literals;

std::shared_ptr<const std::vector<std::byte>> bytes_of(const Tensor& tensor) {
  auto bytes = std::make_shared<std::vector<std::byte>>(tensor.bytes());
  tensor.read_bytes(bytes->data());
  return bytes;
}

/// A fraction of the parameters, rounded up but for what is the fraction's own rounding; at least one.
int64_t entries_of(double fraction, int64_t parameters) {
  const auto count = static_cast<int64_t>(std::ceil(fraction * static_cast<double>(parameters) - 1e-6));
  return std::clamp<int64_t>(count, 1, parameters);
}

}  // namespace

dist::Digest model_digest(const ParameterStore& store) {
  std::string text;
  for (const Segment& segment : store.segments())
    text += segment.name + " " + segment.shape.str() + " at " + std::to_string(segment.begin) + "\n";
  return dist::digest_of(std::as_bytes(std::span(text)));
}

dist::Digest data_digest(const data::Dataset& data) {
  const std::string text = data::digest(data);
  return dist::digest_of(std::as_bytes(std::span(text)));
}

PsEngine::PsEngine(PsOptions options, const Config& config, Progress& progress)
    : options_(std::move(options)), config_(config), progress_(progress) {
  dist::check(options_.security);
}

PsEngine::~PsEngine() = default;

void PsEngine::open(LanePass& pass, const data::RunData& data, const std::filesystem::path& folder) {
  const std::vector<int64_t> sizes = pass.statistics_sizes();
  layout_ = {pass.store().size(), std::accumulate(sizes.begin(), sizes.end(), int64_t{0}), config_.train.micro_batch, config_.train.lanes, options_.wire};
  if (options_.wire == dist::Wire::topk) layout_.top_k = entries_of(options_.top_k, layout_.parameters);
  const int64_t batch = int64_t{config_.train.micro_batch} * config_.train.lanes;
  const int64_t size = data.train->size();
  steps_an_epoch_ = data::steps_of(size, batch, config_.data.drop_last);
  pictures_an_epoch_ = config_.data.drop_last ? steps_an_epoch_ * batch : size;
  folder_ = folder;
  state_ = read_server_state(folder);
  ++state_.run_epoch;

  progress_.message("reading the training pictures for their digest");
  dist::ServerOptions server;
  server.run_epoch = state_.run_epoch;
  server.device_class = state_.device_class;
  server.one_device_class = dist::is_exact(options_.mode);
  server.build = build_text();
  server.shards = options_.shards > 0;
  server.terms = {.worker = 0, .heartbeat_ms = 1000, .lanes = static_cast<uint32_t>(config_.train.lanes),
                  .micro_batch = static_cast<uint32_t>(config_.train.micro_batch), .wire = options_.wire, .mode = options_.mode,
                  .parameters = static_cast<uint64_t>(layout_.parameters), .top_k = static_cast<uint64_t>(layout_.top_k), .statistics = static_cast<uint64_t>(layout_.statistics),
                  .model = model_digest(pass.store()), .data = data_digest(*data.train), .config = config_json(config_)};
  server_ = std::make_unique<dist::Server>(server, options_.listen, options_.security, options_.limits, [this](const dist::ServerEvent& event) {
    const std::lock_guard lock(events_mutex_);
    events_.push_back(event);
  });
  listening_ = server_.get();
  progress_.message("listening on " + dist::Address{options_.listen.host, server_->port()}.str() + " for workers");
}

void PsEngine::folder_opened() {
  // Between open() and the folder's lock another server may have come and gone: its number must not be used again.
  if (read_server_state(folder_).run_epoch + 1 != state_.run_epoch)
    throw Error(folder_.string() + ": another server has just been at work in this run folder; start this one again");
  write_server_state(folder_, state_);
  ledger_.emplace(folder_ / "ledger.jsonl");
}

/// What the network thread noted is told here: Progress belongs to this thread.
void PsEngine::tell_events() {
  std::vector<dist::ServerEvent> events;
  {
    const std::lock_guard lock(events_mutex_);
    events = std::exchange(events_, {});
  }
  for (const dist::ServerEvent& event : events) progress_.message(std::string(dist::name_of(event.kind)) + ": " + event.text);
}

bool PsEngine::wait_for_workers(int workers, int shards) {
  while (server_->ready_workers() < workers || server_->ready_shards() < shards) {
    const bool first = server_->ready_shards() < shards;
    progress_.task(first ? "shards that are ready" : "workers that are ready", first ? server_->ready_shards() : server_->ready_workers(), first ? shards : workers);
    tell_events();
    if (stop_()) return false;
    std::this_thread::sleep_for(50ms);
  }
  tell_events();
  return true;
}

void PsEngine::publish(LanePass& pass, uint64_t version) {
  version_ = version;
  server_->publish(version, bytes_of(pass.store().master));
}

/// Of a task: a step, or in mode epoch all of them.
int64_t PsEngine::pictures_of(int64_t step_in_epoch) const {
  if (options_.mode == dist::Mode::epoch) return pictures_an_epoch_;
  const int64_t whole = int64_t{layout_.micro_batch} * layout_.lanes;
  return std::min(whole, pictures_an_epoch_ - step_in_epoch * whole);
}

void PsEngine::begin(const data::Batch& batch, int64_t step, const Tensor& loss_scale) {
  const bool whole_epoch = options_.mode == dist::Mode::epoch;
  const int64_t in_epoch = whole_epoch ? 0 : step % steps_an_epoch_;
  const int64_t pictures = pictures_of(in_epoch);
  dist::Task task;
  task.step = static_cast<uint64_t>(step);
  task.epoch = static_cast<uint32_t>(batch.epoch);
  task.step_in_epoch = static_cast<uint32_t>(in_epoch);
  task.steps = static_cast<uint32_t>(whole_epoch ? steps_an_epoch_ : 1);
  task.lanes = static_cast<int>(std::min<int64_t>(layout_.lanes, Lanes{pictures, layout_.micro_batch}.count()));
  task.whole_slots = dist::is_exact(options_.mode) ? 0 : 1;
  task.loss_scale = loss_scale.defined() ? static_cast<float>(loss_scale.item()) : 1;
  task.whole = is_whole(step);
  const BodyLayout layout = layout_of(task);
  task.gradient_bytes = layout.gradient_bytes();
  task.well_formed = [layout](dist::Bytes body) { return well_formed(layout, body); };
  task.result_bytes = [layout, steps = task.steps, pictures](dist::LaneRange range) { return layout.bytes(range, steps, pictures); };
  server_->begin(std::move(task));
}

std::optional<dist::TaskResult> PsEngine::wait_for_result() {
  constexpr auto kPatience = 10s;  // of somebody who has asked for a stop
  std::optional<std::chrono::steady_clock::time_point> asked;
  while (true) {
    if (auto result = server_->wait(100ms)) {
      tell_events();
      return result;
    }
    tell_events();
    if (!stop_()) continue;
    const auto now = std::chrono::steady_clock::now();
    if (!asked) asked = now;
    if (server_->ready_workers() == 0 || now - *asked > kPatience) return std::nullopt;
  }
}

std::optional<LaneResults> PsEngine::run(LanePass& pass, const data::Batch& batch, const Tensor& loss_scale, const Tensor& gradient) {
  const bool whole_epoch = options_.mode == dist::Mode::epoch;
  const int64_t first = whole_epoch ? batch.epoch : batch.epoch * steps_an_epoch_ + batch.step;
  if (!started_) {
    // A run that was begun goes on with fewer: some may have gone together with the server.
    if (!wait_for_workers(first > 0 ? 1 : options_.workers, first > 0 ? 0 : options_.shards)) return std::nullopt;
    publish(pass, static_cast<uint64_t>(first));
    started_ = true;
  }
  next_step_ = std::max(next_step_, first);
  while (may_begin(batch.epoch, first)) {
    begin(batch, next_step_, loss_scale);
    under_way_.insert(next_step_++);
  }
  taken_ = wait_for_result();
  if (!taken_) return std::nullopt;
  under_way_.erase(static_cast<int64_t>(taken_->task.step));
  return take(*taken_, gradient);
}

/// bsp and epoch have one step under way; asp one for each worker; ssp besides none that is further than `staleness` from the
/// oldest. None goes beyond the next checkpoint, which wants the steps before it and no others.
bool PsEngine::may_begin(int64_t epoch, int64_t first) const {
  if (under_way_.empty() && !stop_()) return true;
  if (dist::is_exact(options_.mode) || stop_()) return under_way_.empty();
  if (next_step_ >= (epoch + 1) * steps_an_epoch_) return false;
  if (const auto& every = config_.checkpoint.every_steps; every && next_step_ >= (first / *every + 1) * *every) return false;
  if (options_.mode == dist::Mode::ssp && next_step_ - *under_way_.begin() > options_.staleness) return false;
  return static_cast<int>(under_way_.size()) < server_->ready_workers();
}

LaneResults PsEngine::take(const dist::TaskResult& result, const Tensor& gradient) {
  const dist::Task& task = result.task;
  const int64_t pictures = pictures_of(task.step_in_epoch);
  LaneResults results{.epoch = task.epoch, .step = task.step_in_epoch, .pictures = pictures, .nodes = {}};
  if (result.gradient) {
    for (const dist::SlotResult& slot : result.slots)
      for (NodeReport& report : decode_reports(layout_, *slot.body, slot.range, task.steps, pictures)) results.nodes.push_back(std::move(report));
    set_gradient(*result.gradient, gradient);
    std::ranges::sort(results.nodes, {}, &NodeReport::first);
    return results;
  }
  std::vector<DecodedBody> bodies;
  std::vector<dist::LaneRange> ranges;
  std::vector<float*> values;
  for (const dist::SlotResult& slot : result.slots) {
    bodies.push_back(decode_body(layout_of(task), *slot.body, slot.range, task.steps, pictures));
    ranges.push_back(slot.range);
    for (NodeReport& report : bodies.back().reports) results.nodes.push_back(std::move(report));
  }
  for (DecodedBody& body : bodies) values.push_back(body.gradient);
  std::ranges::sort(results.nodes, {}, &NodeReport::first);
  const float* sum = dist::sum_nodes(task.lanes, ranges, values, layout_.parameters);
  set_gradient({sum, static_cast<size_t>(layout_.parameters)}, gradient);
  return results;
}

void PsEngine::set_gradient(std::span<const float> sum, const Tensor& gradient) {
  gradient.write(sum);
  gradient_digest_ = dist::digest_of(std::as_bytes(sum));
}

/// Wire topk: whether lanes send all that they have in a step. So they do before a checkpoint, which then needs nothing
/// of what workers keep, and before a step in which lanes are missing, which could send nothing.
bool PsEngine::is_whole(int64_t step) const {
  if (options_.wire != dist::Wire::topk) return false;
  const auto& every = config_.checkpoint.every_steps;
  const auto before_checkpoint = [&](int64_t s) { return (s + 1) % steps_an_epoch_ == 0 || (every && (s + 1) % *every == 0); };
  const bool ragged_next = (step + 2) % steps_an_epoch_ == 0 && pictures_of(steps_an_epoch_ - 1) < pictures_of(0);
  return before_checkpoint(step) || ragged_next;
}

void PsEngine::updated(LanePass& pass) {
  held_back_ = options_.wire == dist::Wire::topk && !taken_->task.whole;
  const auto parameters = bytes_of(pass.store().master);
  ++version_;
  server_->publish(version_, parameters);
  const dist::Digest digest = dist::digest_of(*parameters);
  server_->committed(taken_->task.step, digest);
  if (ledger_) {
    ledger_->add(state_.run_epoch, taken_->task.step, taken_->slots, gradient_digest_, digest);
    if (ledger_->behind() != behind_) {
      behind_ = !behind_;
      progress_.message(behind_ ? "warning: ledger.jsonl cannot be written (is the disk full?); its lines wait" : "ledger.jsonl is written again");
    }
    if (!behind_) note_device_class();
  }
  taken_.reset();
}

/// Whoever goes on with the run must compute on the same class of device.
void PsEngine::note_device_class() {
  if (!state_.device_class.empty()) return;
  ServerState known = state_;
  known.device_class = server_->device_class();
  if (known.device_class.empty()) return;
  try {
    write_server_state(folder_, known);
    state_.device_class = known.device_class;
  } catch (const Error&) {
    // A full disk: at the next step again.
  }
}

std::optional<PsStatus> PsEngine::status() const {
  const dist::Server* server = listening_;
  if (!server) return std::nullopt;
  PsStatus status{.run_epoch = state_.run_epoch, .mode = options_.mode, .micro_batch = layout_.micro_batch, .workers = server->workers(), .shards = server->shards(), .counters = server->counters()};
  status.step = static_cast<int64_t>(version_.load());
  status.steps = config_.train.epochs * (options_.mode == dist::Mode::epoch ? 1 : steps_an_epoch_);
  const dist::TransportCounters& bytes = server->transport_counters();
  status.wire_bytes_in = bytes.wire_bytes_in;
  status.wire_bytes_out = bytes.wire_bytes_out;
  status.frame_bytes_in = bytes.bytes_in;
  status.frame_bytes_out = bytes.bytes_out;
  status.handshakes_failed = bytes.handshakes_failed + bytes.handshakes_timed_out + bytes.refused_over_limit;
  return status;
}

void PsEngine::close(dist::Drain::Reason reason) {
  if (!server_) return;
  server_->stop(reason);
  tell_events();
  const PsStatus s = *status();
  const auto text = [](uint64_t n) { return std::to_string(n); };
  progress_.message("moved: steps " + text(s.counters.steps) + ", gradient_bytes " + text(s.counters.gradient_bytes) + ", parameter_bytes " +
                    text(s.counters.parameter_bytes) + ", frame_bytes_in " + text(s.frame_bytes_in) + ", frame_bytes_out " + text(s.frame_bytes_out) +
                    ", tcp_bytes_in " + text(s.wire_bytes_in) + ", tcp_bytes_out " + text(s.wire_bytes_out));
}

}  // namespace tern
