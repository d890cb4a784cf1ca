#include "tests/dist_sim/toy.h"

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
  task.result_bytes = [*this](LaneRange range) { return body_bytes(range); };
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
  Floats all(sum, sum + parameters);
  all.insert(all.end(), report.begin(), report.end());
  return bytes_of(all);
}

void Toy::update(Floats& values, const Floats& gradient) const {
  for (size_t i = 0; i < values.size(); ++i) values[i] = 0.75f * values[i] - 0.0625f * gradient[i];
}

Ledger calm_run(const Toy& toy) {
  Ledger ledger;
  Floats values = toy.initial();
  for (int64_t step = 0; step < toy.tasks; ++step) {
    const LaneRange all{0, toy.lanes_of(step)};
    Floats gradient = floats_of(*toy.body(step, all, values));
    gradient.resize(static_cast<size_t>(toy.parameters));
    toy.update(values, gradient);
    ledger.push_back({1, step, {{all, 1, {}}}, digest_of(gradient), digest_of(values)});
  }
  return ledger;
}

}  // namespace tern::dist::sim
