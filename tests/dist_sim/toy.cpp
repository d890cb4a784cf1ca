#include "tests/dist_sim/toy.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "tests/dist_sim/draw.h"

namespace tern::dist::sim {

Digest digest_of(const Floats& floats) { return dist::digest_of(std::as_bytes(std::span(floats))); }

Floats floats_of(Bytes bytes) {
  Floats floats(bytes.size() / sizeof(float));
  std::memcpy(floats.data(), bytes.data(), floats.size() * sizeof(float));
  return floats;
}

std::shared_ptr<std::vector<std::byte>> bytes_of(const Floats& floats) {
  const Bytes bytes = std::as_bytes(std::span(floats));
  return std::make_shared<std::vector<std::byte>>(bytes.begin(), bytes.end());
}

Floats Toy::initial() const {
  Floats values;
  for (int i = 0; i < parameters; ++i)
    values.push_back(static_cast<float>(mix(seed + static_cast<uint64_t>(i)) % 1000) / 512.0f - 1);
  return values;
}

Task Toy::task(int64_t number) const {
  Task task;
  task.step = static_cast<uint64_t>(number);
  task.epoch = static_cast<uint32_t>(number / tasks_an_epoch);
  task.step_in_epoch = static_cast<uint32_t>(number % tasks_an_epoch);
  task.steps = steps;
  task.lanes = lanes_of(number);
  task.whole_slots = exact() ? 0 : 1;
  task.whole = top_k > 0 && whole(number);
  task.result_bytes = [*this, number](LaneRange range) { return body_bytes(number, range); };
  task.gradient_bytes = sizeof(float) * static_cast<uint64_t>(parameters);
  task.well_formed = [*this, number](Bytes body) { return well_formed(number, body); };
  return task;
}

Floats Toy::gradient(int64_t task, uint32_t step, int lane, const Floats& values) const {
  uint64_t hash = seed ^ mix(static_cast<uint64_t>(task) << 32 | static_cast<uint64_t>(step) << 16 | static_cast<uint64_t>(lane));
  for (const float value : values) hash = mix(hash ^ std::bit_cast<uint32_t>(value));
  Floats gradient;
  for (int i = 0; i < parameters; ++i) {
    hash = mix(hash);
    const float fraction = 1 + static_cast<float>(hash & 0x7fffff) * 0x1p-23f;
    gradient.push_back(std::ldexp((hash >> 23) & 1 ? fraction : -fraction, static_cast<int>((hash >> 24) % 12) - 6));
  }
  return gradient;
}

Body Toy::body(int64_t task, LaneRange range, const Floats& values) const {
  std::vector<Floats> lanes_sums;
  Floats report;
  for (int lane = range.first; lane < range.end(); ++lane) {
    Floats sum = gradient(task, 0, lane, values);
    for (uint32_t step = 1; step < steps; ++step) {
      const Floats more = gradient(task, step, lane, values);
      for (size_t i = 0; i < sum.size(); ++i) sum[i] += more[i];
    }
    report.push_back(sum[0]);
    lanes_sums.push_back(std::move(sum));
  }
  std::vector<LaneRange> leaves;
  std::vector<float*> pointers;
  for (int i = 0; i < range.count; ++i) {
    leaves.push_back({i, 1});
    pointers.push_back(lanes_sums[static_cast<size_t>(i)].data());
  }
  const float* sum = sum_nodes(range.count, leaves, pointers, parameters);
  report.insert(report.end(), sum, sum + parameters);
  return bytes_of(report);
}

bool Toy::whole(int64_t task) const {
  return (task + 1) % whole_every == 0 || task + 1 == tasks || lanes_of(task) < lanes || lanes_of(task + 1) < lanes;
}

Body Toy::sparse_body(const LaneStep& at, const Floats& values, Residuals& residuals) const {
  const auto task = static_cast<int64_t>(at.step);
  const Floats all = gradient(task, 0, at.lane, values);
  Floats sent;
  if (whole(task)) {
    sent = residuals.send_all(at, all);
  } else {
    const auto entries = residuals.send_largest(at, all, static_cast<size_t>(top_k));
    sent = floats_of(std::as_bytes(std::span(entries)));
  }
  sent.insert(sent.begin(), all[0]);
  return bytes_of(sent);
}

uint64_t Toy::body_bytes(int64_t task, LaneRange range) const {
  const bool sparse = top_k > 0 && !whole(task);
  return sizeof(float) * static_cast<uint64_t>((sparse ? 2 * top_k : parameters) + range.count);
}

bool Toy::well_formed(int64_t task, Bytes body) const {
  if (top_k == 0 || whole(task)) return true;
  std::vector<SparseEntry> entries(static_cast<size_t>(top_k));
  std::memcpy(entries.data(), body.last(entries.size() * sizeof(SparseEntry)).data(), entries.size() * sizeof(SparseEntry));
  const bool grow = std::ranges::adjacent_find(entries, std::greater_equal<>(), &SparseEntry::index) == entries.end();
  return grow && entries.back().index < static_cast<uint32_t>(parameters);
}

Floats Toy::read(int64_t task, Bytes body) const {
  Floats all(static_cast<size_t>(parameters));
  if (top_k == 0 || whole(task)) {
    std::memcpy(all.data(), body.last(all.size() * sizeof(float)).data(), all.size() * sizeof(float));
    return all;
  }
  const Bytes entries = body.last(static_cast<size_t>(top_k) * sizeof(SparseEntry));
  for (int i = 0; i < top_k; ++i) {
    SparseEntry entry;
    std::memcpy(&entry, entries.data() + static_cast<size_t>(i) * sizeof entry, sizeof entry);
    all[entry.index] = entry.value;
  }
  return all;
}

Floats Toy::sum(int64_t task, std::span<const LaneRange> ranges, std::span<Floats> values) const {
  std::vector<float*> pointers;
  for (Floats& value : values) pointers.push_back(value.data());
  const float* all = sum_nodes(lanes_of(task), ranges, pointers, parameters);
  return {all, all + parameters};
}

Floats Toy::step(int64_t task, const Floats& values, Residuals& residuals, const std::set<int>& dropped) const {
  if (top_k == 0) return read(task, *body(task, {0, lanes_of(task)}, values));
  std::vector<LaneRange> ranges;
  std::vector<Floats> sent;
  for (int lane = 0; lane < lanes_of(task); ++lane) {
    const bool carried = task > 0 && !whole(task - 1) && !dropped.contains(lane);
    const LaneStep at{1, static_cast<uint64_t>(task), lane, carried};
    ranges.push_back({lane, 1});
    sent.push_back(read(task, *sparse_body(at, values, residuals)));
  }
  return sum(task, ranges, sent);
}

void Toy::update(Floats& values, const Floats& gradient) const {
  for (size_t i = 0; i < values.size(); ++i) values[i] = 0.75f * values[i] - 0.0625f * gradient[i];
}

Ledger calm_run(const Toy& toy) {
  Ledger ledger;
  Floats values = toy.initial();
  Residuals residuals;
  for (int64_t step = 0; step < toy.tasks; ++step) {
    const LaneRange all{0, toy.lanes_of(step)};
    const Floats gradient = toy.step(step, values, residuals, {});
    toy.update(values, gradient);
    ledger.push_back({1, step, {{all, 1, {}, false}}, digest_of(gradient), digest_of(values)});
  }
  return ledger;
}

}  // namespace tern::dist::sim
