#include "optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <map>
#include <string>
#include <vector>

#include "core/error.h"
#include "tests/catch.h"

namespace tern {
namespace {

struct Case {
  int64_t total;
  ScheduleOptions options;
};

/// What tests/fixtures/make_schedules.py asked PyTorch for, by name.
const std::map<std::string, Case>& pytorch_cases() {
  constexpr double kLr = 0.02;
  static const std::map<std::string, Case> cases = {
      {"onecycle_seed",
       {9775, {.name = "onecycle", .max_lr = 0.01, .pct_start = 0.3, .div_factor = 10, .final_div_factor = 100}}},
      {"onecycle_defaults", {203, {.name = "onecycle", .max_lr = 0.1}}},
      {"onecycle_linear",
       {150, {.name = "onecycle", .max_lr = 0.05, .pct_start = 0.25, .anneal = "linear", .div_factor = 4}}},
      {"onecycle_three_phase",
       {211, {.name = "onecycle", .max_lr = 0.05, .pct_start = 0.4, .final_div_factor = 50, .three_phase = true}}},
      {"onecycle_three_linear",
       {100, {.name = "onecycle", .max_lr = 0.3, .pct_start = 0.37, .anneal = "linear", .three_phase = true}}},
      {"onecycle_no_rise", {40, {.name = "onecycle", .max_lr = 0.1, .pct_start = 0}}},
      {"onecycle_all_rise", {40, {.name = "onecycle", .max_lr = 0.1, .pct_start = 1}}},
      {"onecycle_one_step", {1, {.name = "onecycle", .max_lr = 0.1}}},
      {"cosine", {200, {.name = "cosine", .lr = kLr}}},
      {"cosine_long", {9775, {.name = "cosine", .lr = kLr, .eta_min = 1e-5}}},
      {"cosine_periods", {170, {.name = "cosine", .lr = kLr, .t_max = 30, .eta_min = 0.001}}},
      {"step", {150, {.name = "step", .lr = kLr, .step_size = 37, .gamma = 0.3}}},
      {"step_every", {120, {.name = "step", .lr = kLr, .step_size = 1, .gamma = 0.93}}},
      {"step_long", {9775, {.name = "step", .lr = kLr, .step_size = 7, .gamma = 0.99}}},
      {"linear", {120, {.name = "linear", .lr = kLr, .start_factor = 1.0 / 3, .end_factor = 1, .linear_steps = 50}}},
      {"linear_down", {9775, {.name = "linear", .lr = kLr}}},
      {"constant", {20, {.name = "constant", .lr = kLr}}},
      {"warm_cosine", {160, {.name = "cosine", .lr = kLr, .warmup_steps = 25, .warmup_start_factor = 0.01}}},
      {"warm_step",
       {130,
        {.name = "step", .lr = kLr, .step_size = 40, .gamma = 0.5, .warmup_steps = 10, .warmup_start_factor = 0.1}}},
      {"warm_linear",
       {140, {.name = "linear", .lr = kLr, .end_factor = 0.1, .warmup_steps = 40, .warmup_start_factor = 0.25}}},
      {"warm_constant", {30, {.name = "constant", .lr = kLr, .warmup_steps = 7, .warmup_start_factor = 0.01}}},
  };
  return cases;
}

struct Sample {
  int64_t step;
  double lr;
};

std::map<std::string, std::vector<Sample>> pytorch_rates() {
  std::ifstream file(TERN_FIXTURES "/schedules.csv");
  std::map<std::string, std::vector<Sample>> rates;
  for (std::string name, step, lr;
       std::getline(file, name, ',') && std::getline(file, step, ',') && std::getline(file, lr);)
    rates[name].push_back({std::stoll(step), std::strtod(lr.c_str(), nullptr)});
  return rates;
}

}  // namespace

TEST_CASE("schedule: equal to PyTorch's over whole runs", "[schedule]") {
  const auto rates = pytorch_rates();
  REQUIRE(rates.size() == pytorch_cases().size());
  for (const auto& [name, samples] : rates) {
    INFO(name);
    const Case& c = pytorch_cases().at(name);
    const auto schedule = make_schedule(c.options, c.total);
    CHECK(schedule->total_steps() == c.total);
    CHECK(samples.back().step == c.total - 1);
    double worst = 0;
    for (const Sample& sample : samples) {
      const double difference = std::abs(schedule->at(sample.step) - sample.lr);
      worst = std::max(worst, difference == 0 ? 0 : difference / sample.lr);
    }
    CHECK(worst <= 1e-7);
  }
}

TEST_CASE("schedule: the last rate holds past the end, and a negative step is refused", "[schedule]") {
  for (const auto& [name, c] : pytorch_cases()) {
    INFO(name);
    const auto schedule = make_schedule(c.options, c.total);
    const double last = schedule->at(c.total - 1);
    for (int64_t step : {c.total, c.total + 1, 10 * c.total, std::numeric_limits<int64_t>::max()})
      CHECK(schedule->at(step) == last);
    CHECK_THROWS_WITH(schedule->at(-1), HasText("step is -1, wanted 0 or more"));
  }
}

TEST_CASE("schedule: onecycle passes through its first, highest and last rate", "[schedule]") {
  const OneCycleLr schedule({.max_lr = 0.1, .pct_start = 0.3, .div_factor = 10, .final_div_factor = 100}, 100);
  CHECK(schedule.at(0) == Approx(0.01));
  CHECK(schedule.at(29) == Approx(0.1));
  CHECK(schedule.at(99) == Approx(1e-4));
}

TEST_CASE("schedule: a onecycle phase of no length stands at its end", "[schedule]") {
  // pct_start * steps = 1: the rise ends at step 0, where PyTorch divides by zero.
  const OneCycleLr schedule({.max_lr = 0.1, .pct_start = 0.25}, 4);
  CHECK(schedule.at(0) == Approx(0.1));
  CHECK(schedule.at(3) == Approx(0.1 / 25 / 1e4));
  for (double pct : {0.0, 0.25, 0.5})
    for (int64_t total = 1; total < 9; ++total)
      for (int64_t step = 0; step < total; ++step)
        CHECK(std::isfinite(OneCycleLr({.pct_start = pct, .three_phase = true}, total).at(step)));
}

TEST_CASE("schedule: warm-up in front of onecycle leads to its first rate", "[schedule]") {
  const auto schedule = make_schedule({.name = "onecycle", .warmup_steps = 10, .warmup_start_factor = 0}, 110);
  const OneCycleLr after({}, 100);
  CHECK(schedule->at(0) == 0);
  CHECK(schedule->at(5) == Approx(after.at(0) / 2));
  for (int64_t step = 0; step < 100; ++step) CHECK(schedule->at(step + 10) == after.at(step));
}

TEST_CASE("schedule: bad options are refused by name", "[schedule]") {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  struct Bad {
    ScheduleOptions options;
    const char* message;
  };
  const Bad cases[] = {
      {{.name = "exponential"}, "name is exponential, wanted constant, onecycle, cosine, step or linear"},
      {{.name = "constant", .lr = -1}, "lr is -1, wanted a finite number from 0"},
      {{.name = "constant", .lr = nan}, "lr is nan"},
      {{.name = "cosine", .lr = -2}, "lr is -2"},
      {{.name = "cosine", .t_max = -1}, "t_max is -1"},
      {{.name = "cosine", .eta_min = -0.5}, "eta_min is -0.5"},
      {{.name = "step"}, "step_size is 0, wanted 1 or more"},
      {{.name = "step", .step_size = 5, .gamma = 0}, "gamma is 0, wanted a finite number over 0"},
      {{.name = "linear", .start_factor = -1}, "start_factor is -1"},
      {{.name = "linear", .end_factor = nan}, "end_factor is nan"},
      {{.name = "linear", .linear_steps = -3}, "linear_steps is -3"},
      {{.name = "onecycle", .max_lr = nan}, "max_lr is nan"},
      {{.name = "onecycle", .pct_start = 1.5}, "pct_start is 1.5, wanted 0 to 1"},
      {{.name = "onecycle", .pct_start = nan}, "pct_start is nan"},
      {{.name = "onecycle", .pct_start = 0.6, .three_phase = true},
       "pct_start is 0.6, wanted 0 to 0.5 with three_phase"},
      {{.name = "onecycle", .anneal = "cosine"}, "anneal is cosine, wanted cos or linear"},
      {{.name = "onecycle", .div_factor = 0}, "div_factor is 0"},
      {{.name = "onecycle", .final_div_factor = -1}, "final_div_factor is -1"},
      {{.name = "constant", .warmup_steps = -1}, "warmup_steps is -1"},
      {{.name = "constant", .warmup_steps = 100}, "fewer than the 100 steps of the run"},
      {{.name = "constant", .warmup_steps = 5, .warmup_start_factor = 2}, "warmup_start_factor is 2, wanted 0 to 1"},
  };
  for (const Bad& bad : cases) {
    INFO(bad.message);
    CHECK_THROWS_AS(make_schedule(bad.options, 100), ConfigError);
    CHECK_THROWS_WITH(make_schedule(bad.options, 100), HasText(bad.message));
  }
  CHECK_THROWS_WITH(make_schedule({}, 0), HasText("total_steps is 0, wanted 1 or more"));
}

}  // namespace tern
