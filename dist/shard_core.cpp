#include "dist/shard_core.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "core/dtype.h"

namespace tern::dist {

ShardCore::ShardCore(WorkerOptions options, ServerOptions limits)
    : limits_(std::move(limits)), instance_(options.hello.instance), server_(std::move(options)) {}

// ---- towards the server

void ShardCore::server_connected(Millis now) { server_.connected(now); }

void ShardCore::server_received(Bytes bytes, Millis now) {
  server_.received(bytes, now);
  go_on(now);
}

void ShardCore::server_disconnected(Millis now) {
  server_.disconnected(now);
  go_on(now);
}

void ShardCore::server_tick(Millis now) {
  server_.tick(now);
  go_on(now);
}

// ---- towards workers

void ShardCore::connected(ConnectionId id, const std::string& peer, Millis now) {
  connections_.insert(id);
  if (workers_)
    workers_->connected(id, peer, now);
  else
    actions_.push_back({id, {}, true});  // it comes again
}

void ShardCore::received(ConnectionId id, Bytes bytes, Millis now) {
  if (workers_) workers_->received(id, bytes, now);
  go_on(now);
}

void ShardCore::disconnected(ConnectionId id, const std::string& why, Millis now) {
  connections_.erase(id);
  if (workers_) workers_->disconnected(id, why, now);
}

void ShardCore::tick(Millis now) {
  if (workers_) workers_->tick(now);
}

std::vector<ServerAction> ShardCore::take_actions() {
  std::vector<ServerAction> all = std::exchange(actions_, {});
  if (workers_)
    for (ServerAction& action : workers_->take_actions()) all.push_back(std::move(action));
  return all;
}

std::vector<ServerEvent> ShardCore::take_events() {
  return workers_ ? workers_->take_events() : std::vector<ServerEvent>();
}

// ---- steps

void ShardCore::go_on(Millis now) {
  if (server_.online() && greeted_ != server_.welcomes()) {
    greeted_ = server_.welcomes();
    server_.ready({}, {}, now);
  }
  follow_layout();
  if (!workers_) return;
  // A step before the parameters to compute it with: its results come from workers who have these.
  if (const std::optional<SumTask> sum = server_.next_sum()) {
    Task task;
    task.step = sum->step;
    for (const SlotRange& slot : sum->slots) task.lanes = std::max(task.lanes, slot.first + slot.count);
    task.cut = sum->slots;
    const uint64_t bytes = count_ * (server_.terms()->wire == Wire::f16 ? sizeof(Half) : sizeof(float));
    task.result_bytes = [bytes](LaneRange) { return bytes; };
    workers_->begin(std::move(task), now);
  }
  if (const auto parameters = server_.parameters(); parameters && published_ != parameters->first) {
    published_ = parameters->first;
    workers_->publish(parameters->first, parameters->second);
  }
  for (const TaskResult& result : workers_->take_results()) add_up(result, now);
}

/// Everything of the layout before is void, its connections too.
void ShardCore::follow_layout() {
  const Shards& layout = server_.layout();
  if (layout.layout == layout_ || !server_.online()) return;
  layout_ = layout.layout;
  workers_.reset();
  published_.reset();
  for (const ConnectionId id : connections_) actions_.push_back({id, {}, true});
  const auto mine = std::ranges::find(layout.shards, instance_, &ShardRange::instance);
  if (mine == layout.shards.end()) return;
  count_ = mine->count;
  place_ = static_cast<uint16_t>(mine - layout.shards.begin());
  ServerOptions options = limits_;
  options.run_epoch = layout_;
  options.gathers = true;
  options.one_device_class = false;
  options.terms = *server_.terms();
  options.terms.parameters = count_;
  options.terms.config.clear();
  workers_ = std::make_unique<ServerCore>(std::move(options));
}

std::vector<float> ShardCore::floats_of(Bytes part) const {
  std::vector<float> floats(count_);
  if (server_.terms()->wire != Wire::f16) {
    std::memcpy(floats.data(), part.data(), part.size());
    return floats;
  }
  std::vector<Half> halves(count_);
  std::memcpy(halves.data(), part.data(), part.size());
  std::ranges::transform(halves, floats.begin(), [](Half x) { return static_cast<float>(x); });
  return floats;
}

/// The sum of a step's slots, behind the digests of what was added.
void ShardCore::add_up(const TaskResult& result, Millis now) {
  if (!server_.online()) return;  // it will tell of another layout
  std::vector<std::vector<float>> parts;
  std::vector<LaneRange> ranges;
  std::vector<float*> values;
  auto body = std::make_shared<std::vector<std::byte>>();
  for (const SlotResult& slot : result.slots) {
    parts.push_back(floats_of(*slot.body));
    ranges.push_back(slot.range);
    body->insert(body->end(), slot.digest.begin(), slot.digest.end());
  }
  for (std::vector<float>& part : parts) values.push_back(part.data());
  const float* sum = sum_nodes(result.task.lanes, ranges, values, static_cast<int64_t>(count_));
  const Bytes floats = std::as_bytes(std::span(sum, count_));
  body->insert(body->end(), floats.begin(), floats.end());
  const Work work{
      .run_epoch = layout_, .step = result.task.step, .slot = place_, .range = {0, 1}, .parameters = nullptr};
  server_.take(work);
  server_.finish(work, body, 0, now);
  ++steps_;
}

}  // namespace tern::dist
