// trainer --profile.
#include <algorithm>

#include "tests/catch.h"
#include "tests/programs.h"

using namespace tern::test;
using nlohmann::json;

namespace {

struct Span {
  std::string name, category;
  int thread;
  double begin, end;
};

std::vector<Span> spans_of(const json& trace) {
  std::vector<Span> spans;
  for (const json& e : trace.at("traceEvents"))
    if (e.at("ph") == "X") {
      const double begin = e.at("ts"), duration = e.at("dur");
      spans.push_back({e.at("name"), e.at("cat"), e.at("tid"), begin, begin + duration});
    }
  return spans;
}

/// Of spans of one thread, two are apart or one holds the other.
bool nest(const std::vector<Span>& spans) {
  constexpr double kRounding = 0.002;  // microseconds
  for (const Span& a : spans)
    for (const Span& b : spans) {
      if (a.thread != b.thread || b.begin < a.begin) continue;
      if (b.begin < a.end - kRounding && b.end > a.end + kRounding) return false;
    }
  return true;
}

std::set<std::string> names(const std::vector<Span>& spans, const std::string& category) {
  std::set<std::string> found;
  for (const Span& span : spans)
    if (span.category == category) found.insert(span.name);
  return found;
}

}  // namespace

TEST_CASE("trainer --profile: a trace that nests, with every op, phase and thread, and the same bits", "[profile]") {
  const Workbench bench;
  REQUIRE(bench.train({"--out", "plain", "--epochs", "1"}).code == 0);
  const Outcome outcome = bench.train({"--out", "run", "--epochs", "1", "--profile=2"});
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  CHECK(bench.last_digest("run") == bench.last_digest("plain"));
  CHECK_FALSE(std::filesystem::exists(bench / "plain/profile"));
  CHECK_THAT(outcome.out, HasText("where the time went: 2 steps on cpu"));

  const json trace = json::parse(read_file(bench / "run/profile/trace.json"));
  const std::vector<Span> spans = spans_of(trace);
  CHECK(nest(spans));
  CHECK(names(spans, "step") == std::set<std::string>{"step 4", "step 5"});
  CHECK(names(spans, "phase") == std::set<std::string>{"forward", "backward", "optimizer"});
  CHECK(names(spans, "evaluation").contains("evaluation on test"));
  CHECK(names(spans, "checkpoint").contains("write a checkpoint"));
  const std::set<std::string> ops = names(spans, "op");
  for (const char* op : {"normalize_images", "conv2d", "batch_norm", "linear", "dropout", "cross_entropy", "cross_entropy_grad", "batch_norm_grad",
                         "conv2d_wgrad", "conv2d_dgrad", "linear_wgrad", "flatten_into", "global_norm", "adamw", "sgd", "ema", "batch_norm_update"})
    CHECK(ops.contains(op));
  int counters = 0, named_threads = 0;
  for (const json& e : trace.at("traceEvents")) {
    counters += e.at("ph") == "C" && e.at("name") == "memory, bytes";
    named_threads += e.at("name") == "thread_name";
    if (e.value("cat", "") != "op") continue;
    CHECK(e.at("args").at("out").is_array());
    CHECK(e.at("args").at("bytes") > 0);
  }
  CHECK(counters > 2);
  CHECK(named_threads == 2);  // the training's and the loader's

  double share = 0;
  for (const std::string& part : csv_column(bench / "run/profile/summary.csv", "share")) share += std::stod(part);
  CHECK(share == Approx(1).margin(1e-3));
}

TEST_CASE("trainer --profile: eager steps too; no step beyond the warm-up is said", "[profile]") {
  const Workbench bench;
  const Outcome eager = bench.train({"--out", "eager", "--epochs", "1", "--no-plan", "--profile"});
  INFO(eager.err);
  REQUIRE(eager.code == 0);
  CHECK(names(spans_of(json::parse(read_file(bench / "eager/profile/trace.json"))), "op").contains("conv2d_wgrad"));
  const Outcome none = bench.train({"--out", "short", "--epochs", "1", "--overfit-batches", "2", "--profile"});
  REQUIRE(none.code == 0);
  CHECK_THAT(none.out, HasText("no step was looked at"));
  CHECK(bench.train({"--out", "bad", "--profile=0"}).code == 2);
}
