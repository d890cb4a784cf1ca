// A server, shards and workers in one process over real sockets: what ThreadSanitizer is to see of dist/server.h,
// shard.h and worker.h.
#include <thread>

#include "dist/server.h"
#include "dist/shard.h"
#include "dist/worker.h"
#include "tests/catch.h"
#include "tests/dist_sim/toy.h"

namespace tern::dist {
namespace {

using namespace std::chrono_literals;

const Security kPlain = [] {
  Security security;
  security.insecure = true;
  return security;
}();

/// As tools/ps_worker.cpp, with a toy's arithmetic.
void work(const sim::Toy& toy, uint64_t instance, uint16_t port) {
  WorkerOptions options;
  options.hello.name = "worker " + std::to_string(instance);
  options.hello.device_class = "toy";
  options.hello.instance = instance;
  Worker worker(options, {"127.0.0.1", port}, kPlain, {}, [](const std::string&) {});
  while (true) {
    const Worker::Next next = worker.wait(100ms);
    if (next.drained || next.refused || next.left) break;
    if (next.new_terms) worker.ready(worker.terms().model, worker.terms().data);
    if (!next.work) continue;
    const sim::Body body =
        toy.body(static_cast<int64_t>(next.work->step), next.work->range, sim::floats_of(*next.work->parameters));
    worker.send_part(*next.work, body, body->size() / 3);
    worker.finish(*next.work, body, 0.001);
  }
  worker.stop();
}

std::unique_ptr<Shard> make_shard(uint64_t instance, uint16_t port) {
  ShardOptions options;
  options.name = "shard " + std::to_string(instance);
  options.instance = instance;
  options.server = {"127.0.0.1", port};
  options.listen = {"127.0.0.1", 0};
  return std::make_unique<Shard>(options, kPlain, TransportLimits(), [](const std::string&) {});
}

}  // namespace

TEST_CASE("a training over sockets with shards that come and go has the bytes of one process") {
  const sim::Toy toy{.seed = 5, .lanes = 4, .parameters = 100'000, .tasks = 30, .tasks_an_epoch = 30};
  ServerOptions options;
  options.shards = true;
  options.terms.lanes = 4;
  options.terms.parameters = static_cast<uint64_t>(toy.parameters);
  Server server(options, {"127.0.0.1", 0}, kPlain, {}, [](const ServerEvent&) {});
  std::vector<std::unique_ptr<Shard>> shards;
  for (uint64_t i = 11; i <= 13; ++i) shards.push_back(make_shard(i, server.port()));
  std::vector<std::thread> workers;
  for (uint64_t i = 1; i <= 2; ++i) workers.emplace_back([&, i] { work(toy, i, server.port()); });
  const auto deadline = std::chrono::steady_clock::now() + 60s;
  while ((server.ready_workers() < 2 || server.ready_shards() < 3) && std::chrono::steady_clock::now() < deadline)
    std::this_thread::sleep_for(5ms);

  sim::Floats parameters = toy.initial();
  server.publish(0, sim::bytes_of(parameters));
  bool whole = true;
  for (int64_t step = 0; step < toy.tasks && whole; ++step) {
    server.begin(toy.task(step));
    if (step % 10 == 7) shards[static_cast<size_t>(step) / 10].reset();
    if (step == 15) shards.push_back(make_shard(19, server.port()));
    const std::optional<TaskResult> result = server.wait(60s);
    whole = result.has_value();
    if (!whole) break;
    sim::Floats gradient;
    if (result->gradient) {
      gradient = *result->gradient;
    } else {
      std::vector<LaneRange> ranges;
      std::vector<sim::Floats> values;
      for (const SlotResult& slot : result->slots) {
        ranges.push_back(slot.range);
        values.push_back(toy.read(step, *slot.body));
      }
      gradient = toy.sum(step, ranges, values);
    }
    toy.update(parameters, gradient);
    server.publish(static_cast<uint64_t>(step) + 1, sim::bytes_of(parameters));
    server.committed(static_cast<uint64_t>(step), sim::digest_of(parameters));
  }
  for (const auto& shard : shards)
    if (shard) CHECK_FALSE(shard->status().refused);
  server.stop(Drain::Reason::complete);
  for (std::thread& worker : workers) worker.join();
  CHECK(whole);
  CHECK(sim::digest_of(parameters) == sim::calm_run(toy).back().parameters);
}

}  // namespace tern::dist
