// The protocol of dist on a simulated network (tests/dist_sim): every seed is one training with faults, and its ledger is
// checked. What failed is printed with its seed; the environment
//   TERN_SIM_SEED=N   begins with seed N instead of 1,
//   TERN_SIM_RUNS=N   runs N seeds (1000000 take about half an hour on one core; several processes share a long night by
//                     different first seeds),
//   TERN_SIM_TRACE=1  tells what happens, for one seed at a time:
// TERN_SIM_SEED=42 TERN_SIM_RUNS=1 TERN_SIM_TRACE=1 tern_tests "trainings survive what a network and processes do"
#include <cstdlib>

#include "tests/catch.h"
#include "tests/dist_sim/plants.h"
#include "tests/dist_sim/world.h"
#include "tests/programs.h"

namespace tern::dist::sim {
namespace {

uint64_t number_of(const char* variable, uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text ? std::strtoull(text, nullptr, 10) : otherwise;
}

constexpr uint64_t kSeeds = 3000;
constexpr uint64_t kEnough = 4000;  // seeds in which any planted bug is found

}  // namespace

TEST_CASE("trainings survive what a network and processes do") {
  const uint64_t first = number_of("TERN_SIM_SEED", 1), runs = number_of("TERN_SIM_RUNS", kSeeds);
  Totals totals;
  int failures = 0;
  for (uint64_t seed = first; seed < first + runs && failures < 10; ++seed)
    if (const std::string fault = run_seed(seed, totals); !fault.empty()) {
      ++failures;
      FAIL_CHECK(fault);
    }
  WARN(totals.seeds << " seeds, " << totals.time / 3600000 << " h of virtual time: " << totals.steps << " steps, " << totals.faults << " faults, " << totals.incarnations
                    << " servers, " << totals.lapsed << " leases lapsed, " << totals.speculated << " slots doubled, " << totals.reassigned << " reassigned, "
                    << totals.duplicates << " duplicates, " << totals.nacked << " results not wanted, " << totals.dropped << " lanes dropped, " << totals.layouts << " layouts of shards, " << totals.sharded << " sums of shards, " << totals.refused << " refusals");
  if (runs < 1000) return;
  // Else the faults do not strike what they are meant for.
  CHECK(totals.lapsed > runs / 50);
  CHECK(totals.speculated > runs / 10);
  CHECK(totals.nacked > runs / 20);
  CHECK(totals.dropped > runs / 20);
  CHECK(totals.layouts > runs / 2);
  CHECK(totals.sharded > runs);
  CHECK(totals.incarnations > runs + runs / 2);
}

TEST_CASE("a seed's run can be repeated") {
  for (const uint64_t seed : {3, 42, 279}) {
    Totals a, b;
    run_seed(seed, a);
    run_seed(seed, b);
    CHECK(a.time == b.time);
    CHECK(a.refused == b.refused);
    CHECK(a.steps == b.steps);
  }
}

TEST_CASE("the simulator finds every planted bug") {
  const test::TempDir directory;
  for (const std::string_view plant : kPlants) {
    INFO(plant);
    const std::string seeds = std::to_string(plant == "none" ? 300 : kEnough);
    const test::Outcome outcome = test::Process({"dist_sim_planted", std::string(plant), seeds}, directory.path()).wait();
    CHECK(outcome.code == 0);
    CHECK(outcome.out.empty() == (plant == "none"));
  }
}

TEST_CASE("the ledger's checker sees each kind of fault") {
  Toy toy{.seed = 7, .mode = Mode::bsp, .lanes = 6, .parameters = 3, .tasks = 8, .tasks_an_epoch = 4, .steps = 1, .ragged = 2};
  const Ledger calm = calm_run(toy);
  REQUIRE(check_ledger(toy, calm, calm, 0).empty());
  const auto check = [&](Ledger ledger) { return check_ledger(toy, ledger, calm, 1); };

  Ledger ledger = calm;
  ledger.insert(ledger.begin() + 3, calm[2]);
  CHECK_THAT(check(ledger), HasText("twice"));
  ledger = calm;
  ledger.erase(ledger.begin() + 3);
  CHECK_THAT(check(ledger), HasText("before step 3"));
  ledger = calm;
  ledger.pop_back();
  CHECK_THAT(check(ledger), HasText("step 7 was never taken"));
  ledger = calm;
  ledger[1].slots[0].range = {0, 5};
  CHECK_THAT(check(ledger), HasText("lane 5 0 times"));
  ledger[1].slots.push_back({{4, 2}, 2, {}});
  CHECK_THAT(check(ledger), HasText("lane 4 2 times"));
  ledger = calm;
  ledger[3].slots[0].range = {0, 6};  // an epoch's last step has fewer
  CHECK_THAT(check(ledger), HasText("not there"));
  ledger = calm;
  ledger[5].gradient[0] ^= std::byte{1};
  CHECK_THAT(check(ledger), HasText("gradient is not that of the calm run"));
  ledger = calm;
  ledger[7].parameters[0] ^= std::byte{1};
  CHECK_THAT(check(ledger), HasText("parameters are not those"));

  // A second incarnation goes on from step 6, and does it again.
  ledger = calm;
  for (size_t step = 6; step < 8; ++step) {
    ledger.push_back(calm[step]);
    ledger.back().run_epoch = 2;
  }
  CHECK(check(ledger).empty());
  ledger.back().parameters[0] ^= std::byte{1};
  CHECK_THAT(check(ledger), HasText("other digests than in incarnation 1"));
  ledger.pop_back();
  CHECK_THAT(check(ledger), HasText("left out steps"));
  ledger.assign(calm.begin(), calm.begin() + 4);
  ledger.push_back(calm[6]);
  ledger.back().run_epoch = 2;
  CHECK_THAT(check(ledger), HasText("lost"));

  toy.mode = Mode::ssp;
  ledger = calm;
  std::swap(ledger[2], ledger[3]);
  CHECK(check(ledger).empty());
  std::swap(ledger[2], ledger[5]);
  CHECK_THAT(check(ledger), HasText("staler than 1"));
}

}  // namespace tern::dist::sim
