#include "tools/profile.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "core/atomic_file.h"
#include "core/device_runtime.h"
#include "core/error.h"
#include "core/tensor.h"
#include "core/thread_pool.h"
#include "tools/environment.h"
#include "tools/format.h"
#include "tools/json_text.h"

namespace tern {
namespace {

using nlohmann::ordered_json;

constexpr int kProcess = 1;

/// Floating-point operations of ops that are limited by them, a multiply-add counted as two; 0: not known.
double flops_of(std::string_view op, const Launch& launch) {
  const auto elements = [](const Tensor& tensor) { return static_cast<double>(tensor.numel()); };
  const auto filter = [](const Tensor& w) { return static_cast<double>(w.numel() / w.size(0)); };
  if (op == "conv2d" || op == "linear") return 2 * elements(launch.out[0]) * filter(launch.in[1]);
  if (op == "conv2d_dgrad") return 2 * elements(launch.in[0]) * filter(launch.in[1]);
  if (op == "conv2d_wgrad") return 2 * elements(launch.in[1]) * filter(launch.out[0]);
  if (op == "linear_wgrad") return 2 * elements(launch.in[0]) * filter(launch.out[0]);
  // [M,K] x [K,N]: the three matrices have M K, K N and M N elements, whichever of them are transposed.
  if (op == "matmul" && launch.out[0].shape().rank() == 2)
    return 2 * std::sqrt(elements(launch.in[0]) * elements(launch.in[1]) * elements(launch.out[0]));
  return 0;
}

double bytes_of(const Launch& launch) {
  const auto sum = [](std::span<const Tensor> tensors) {
    return std::accumulate(tensors.begin(), tensors.end(), 0.0, [](double s, const Tensor& t) { return s + static_cast<double>(t.bytes()); });
  };
  return sum(launch.in) + sum(launch.out);
}

ordered_json specs(std::span<const Tensor> tensors) {
  ordered_json list = ordered_json::array();
  for (const Tensor& tensor : tensors) list.push_back(tensor.spec().str());
  return list;
}

double seconds(Profile::Clock::duration time) { return std::chrono::duration<double>(time).count(); }

}  // namespace

Profile::Profile(int steps) : steps_wanted_(steps) { name_thread("training"); }

void Profile::Span::begin(std::string_view name, std::string_view category) {
  name_ = name;
  category_ = category;
  begin_ = Clock::now();
}

void Profile::Span::end() {
  const auto now = Clock::now();
  const std::lock_guard lock(profile_->mutex_);
  if (when_ == When::in_steps && !profile_->looking_) return;
  profile_->add_span(name_, category_, begin_, now);
  if (name_ == "wait for data") profile_->wait_time_ += now - begin_;
}

Profile::Step::Step(Profile* profile, Context& context, int64_t pictures) : profile_(profile) {
  if (!profile) return;
  profile->begin_step(context, pictures);
  begin_ = Clock::now();
}

Profile::Step::~Step() {
  if (profile_) profile_->end_step(begin_);
}

void Profile::begin_step(Context& context, int64_t pictures) {
  const std::lock_guard lock(mutex_);
  ++steps_begun_;
  if (!looking_) return;
  context.runtime().synchronize();  // what is queued belongs to steps before
  pictures_ += pictures;
  device_ = context.device().str();
  context_ = &context;
  context.set_recorder(this);
  add_memory();
}

void Profile::end_step(Clock::time_point begin) {
  const std::lock_guard lock(mutex_);
  looking_ = steps_begun_ >= kWarmUp && steps_begun_ < kWarmUp + steps_wanted_;
  if (!context_) return;
  close_phase();
  context_->set_recorder(nullptr);
  const auto end = Clock::now();
  add_memory();
  add_span("step " + std::to_string(steps_begun_), "step", begin, end);
  step_time_ += end - begin;
  ++steps_seen_;
  context_ = nullptr;
}

void Profile::name_thread(const std::string& name) {
  const std::lock_guard lock(mutex_);
  thread_names_[thread_number()] = name;
}

int Profile::thread_number() {
  const auto [it, added] = threads_.try_emplace(std::this_thread::get_id(), static_cast<int>(threads_.size()) + 1);
  return it->second;
}

std::function<void(const GpuMonitor::Usage&)> Profile::gpu_counter() {
  return [this](const GpuMonitor::Usage& usage) {
    const std::lock_guard lock(mutex_);
    if (!looking_) return;
    add_counter("GPU use (NVML), per cent", ordered_json{{"busy", 100 * usage.busy}}.dump());
    add_counter("GPU memory (NVML), bytes", ordered_json{{"used", usage.memory}}.dump());
  };
}

void Profile::add_span(std::string_view name, std::string_view category, Clock::time_point begin, Clock::time_point end, const std::string& args) {
  const ordered_json event = {{"name", name}, {"cat", category}, {"ph", "X"}, {"ts", micros(begin)}, {"dur", micros(end) - micros(begin)},
                              {"pid", kProcess}, {"tid", thread_number()}};
  std::string line = json_text(event);
  if (!args.empty()) line.insert(line.size() - 1, ",\"args\":" + args);
  events_.push_back(std::move(line));
}

void Profile::add_counter(std::string_view name, const std::string& values) {
  std::string line = json_text(ordered_json{{"name", name}, {"ph", "C"}, {"ts", micros(Clock::now())}, {"pid", kProcess}});
  events_.push_back(line.insert(line.size() - 1, ",\"args\":" + values));
}

void Profile::add_memory() {
  const AllocatorStats stats = context_->allocator().stats();
  add_counter("memory, bytes", ordered_json{{"tensors", stats.total.current}, {"reserved", stats.reserved}, {"process", resident_bytes()}}.dump());
}

void Profile::run(const Op& op, Launch& launch) {
  const auto begin = Clock::now();
  op.run(launch);
  launch.context.runtime().synchronize();
  const auto end = Clock::now();
  const double flops = flops_of(op.name(), launch), bytes = bytes_of(launch);
  const ordered_json args = {{"in", specs(launch.in)}, {"out", specs(launch.out)}, {"bytes", bytes}, {"workspace", launch.workspace.size()},
                             {"threads", launch.context.pool().threads()}, {"flops", flops}};
  const std::lock_guard lock(mutex_);
  add_span(op.name(), "op", begin, end, json_text(args));
  Cost& cost = costs_[{phase_, std::string(op.name())}];
  ++cost.calls;
  cost.time += end - begin;
  cost.flops += flops;
  cost.bytes += bytes;
}

void Profile::record_phase(std::string_view phase) {
  const std::lock_guard lock(mutex_);
  if (phase == phase_) return;
  close_phase();
  phase_ = phase;
  phase_begin_ = Clock::now();
  add_memory();
}

void Profile::close_phase() {
  if (!phase_.empty()) add_span(phase_, "phase", phase_begin_, Clock::now());
  phase_.clear();
}

std::string Profile::trace() const {
  const std::lock_guard lock(mutex_);
  const bool gpu = device_.starts_with("cuda");
  std::string json = "{\"displayTimeUnit\":\"ms\",\"otherData\":" +
                     json_text(ordered_json{{"device", device_},
                                            {"steps", steps_seen_},
                                            {"times", gpu ? "of the host, which waits for the GPU after every op" : "of the host"}}) +
                     ",\"traceEvents\":[\n";
  const auto name = [](const char* what, int thread, const std::string& value) {
    return json_text(ordered_json{{"name", what}, {"ph", "M"}, {"pid", kProcess}, {"tid", thread}, {"args", {{"name", value}}}});
  };
  json += name("process_name", 0, "tern");
  for (const auto& [thread, thread_name] : thread_names_) json += ",\n" + name("thread_name", thread, thread_name);
  for (const std::string& event : events_) json += ",\n" + event;
  return json + "\n]}\n";
}

/// A line of the table.
struct Profile::Row {
  std::string phase, op;
  Cost cost;
};

/// Ops, the largest first, then what no op accounts for.
std::vector<Profile::Row> Profile::rows() const {
  const std::lock_guard lock(mutex_);
  std::vector<Row> rows;
  Clock::duration in_ops{};
  for (const auto& [key, cost] : costs_) {
    rows.push_back({key.first, key.second, cost});
    in_ops += cost.time;
  }
  std::ranges::stable_sort(rows, std::greater<>(), [](const Row& row) { return row.cost.time; });
  rows.push_back({"", "between the ops", {.calls = steps_seen_, .time = step_time_ - in_ops}});
  rows.push_back({"", "wait for data", {.calls = steps_seen_, .time = wait_time_}});
  return rows;
}

std::string Profile::table() const {
  if (steps_seen_ == 0)
    return "profile: no step was looked at: the first " + std::to_string(kWarmUp) + " of a training are left out as its warm-up\n";
  const double steps = static_cast<double>(steps_seen_), total = seconds(step_time_ + wait_time_);
  std::string out = format("where the time went: %lld steps on %s, %.2f ms each%s\n", static_cast<long long>(steps_seen_), device_.c_str(),
                           1e3 * total / steps, device_.starts_with("cuda") ? " with a wait after every op" : "");
  out += format("%-10s %-24s %7s %11s %7s %9s %8s\n", "phase", "op", "calls", "ms a step", "share", "GFLOP/s", "GB/s");
  for (const auto& [phase, op, cost] : rows()) {
    const double time = seconds(cost.time);
    out += format("%-10s %-24s %7.4g %11.3f %6.1f%% %9s %8s\n", phase.c_str(), op.c_str(), static_cast<double>(cost.calls) / steps, 1e3 * time / steps,
                  100 * time / total, cost.flops > 0 ? format("%.1f", 1e-9 * cost.flops / time).c_str() : "",
                  cost.flops == 0 && cost.bytes > 0 ? format("%.1f", 1e-9 * cost.bytes / time).c_str() : "");
  }
  return out;
}

std::string Profile::csv() const {
  std::string out = "phase,op,calls,ms_per_step,share,gflop_per_s,gb_per_s\n";
  const double steps = static_cast<double>(std::max<int64_t>(steps_seen_, 1)), total = seconds(step_time_ + wait_time_);
  for (const auto& [phase, op, cost] : rows()) {
    const double time = seconds(cost.time);
    out += phase + "," + op + "," + std::to_string(cost.calls) + format(",%.6g,%.6g,", 1e3 * time / steps, total > 0 ? time / total : 0);
    if (cost.flops > 0) out += format("%.6g", 1e-9 * cost.flops / time);
    out += cost.flops == 0 && cost.bytes > 0 ? format(",%.6g\n", 1e-9 * cost.bytes / time) : ",\n";
  }
  return out;
}

void Profile::write(const std::filesystem::path& folder) const {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw Error(folder.string() + ": cannot be made: " + error.message());
  write_file_atomically(folder / "trace.json", trace(), {.durable = false});
  write_file_atomically(folder / "summary.csv", csv(), {.durable = false});
}

}  // namespace tern
