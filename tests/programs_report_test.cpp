// What people get: report.html of a run, comparisons of runs, the dashboard of a training.
#include <curl/curl.h>

#include <chrono>
#include <csignal>
#include <functional>
#include <memory>
#include <thread>

#include "tests/catch.h"
#include "tests/programs.h"
#include "tests/temp_dir.h"
#include "tools/dashboard.h"
#include "tools/dashboard_http.h"

using namespace tern;
using namespace tern::test;
using nlohmann::json;

namespace {

/// The JSON that a page holds.
json data_of(const std::string& page) {
  const std::string open = "id=\"data\">";
  const size_t begin = page.find(open) + open.size();
  return json::parse(page.substr(begin, page.find("</script>", begin) - begin));
}

/// What `event` told in a stream of events, in order; one that has not come to its end yet is left out.
std::vector<json> told(const std::string& stream, const std::string& event) {
  std::vector<json> found;
  const std::string open = "event: " + event + "\ndata: ";
  for (size_t at = stream.find(open); at != std::string::npos; at = stream.find(open, at + 1))
    if (const size_t end = stream.find("\n\n", at); end != std::string::npos) found.push_back(json::parse(stream.substr(at + open.size(), end - at - open.size())));
  return found;
}

/// GETs a path of 127.0.0.1 and returns the status; 0: no answer. `take` gets the bytes as they come.
long get(int port, const std::string& path, const std::function<void(const std::string&)>& take = {}) {
  const std::unique_ptr<CURL, void (*)(CURL*)> curl(curl_easy_init(), curl_easy_cleanup);
  curl_easy_setopt(curl.get(), CURLOPT_URL, ("http://127.0.0.1:" + std::to_string(port) + path).c_str());
  curl_easy_setopt(curl.get(), CURLOPT_NOPROXY, "*");
  curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT, 120L);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &take);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, +[](char* bytes, size_t size, size_t count, void* to) {
    if (const auto& receiver = *static_cast<const std::function<void(const std::string&)>*>(to)) receiver({bytes, size * count});
    return size * count;
  });
  long status = 0;
  if (curl_easy_perform(curl.get()) == CURLE_OK) curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
  return status;
}

/// Waits for the line with the page's address and returns its port.
int dashboard_port(const Process& trainer) {
  const std::string mark = "dashboard: http://127.0.0.1:";
  for (int i = 0; i < 3000; ++i, std::this_thread::sleep_for(std::chrono::milliseconds(10))) {
    const std::string err = trainer.err();
    const size_t at = err.find(mark);
    if (at != std::string::npos && err.find('\n', at) != std::string::npos) return std::atoi(err.c_str() + at + mark.size());
  }
  return -1;
}

}  // namespace

TEST_CASE("trainer: report.html has the run's numbers, the mistakes' pictures and says that the data are synthetic", "[programs]") {
  const Workbench bench;
  const Outcome outcome = bench.train({"--out", "run"});
  REQUIRE(outcome.code == 0);
  CHECK_THAT(outcome.err, HasText("report: run/report.html"));
  const std::string page = read_file(bench / "run/report.html");
  CHECK(page.size() < 2000000);
  const json run = data_of(page).at("run");
  CHECK(run.at("synthetic") == true);
  CHECK(run.at("eval") == json::parse(read_file(bench / "run/eval.json")));
  CHECK(run.at("metrics").at("epoch") == json::parse("[1.0, 2.0]"));
  CHECK(run.at("timing").at("forward").size() == 2);
  CHECK(run.at("config") == read_file(bench / "run/config.json"));
  CHECK(run.at("network").at("layers").size() >= 4);
  int64_t sum = 0;
  json layers = run.at("network").at("layers");
  for (json& layer : layers) {
    sum += layer.at("parameters").get<int64_t>();
    CHECK(layer.at("shapes").empty() == (layer.at("parameters") == 0));
    layer.erase("shapes");
  }
  CHECK(run.at("network").at("parameters") == sum);
  CHECK(layers == json::parse(bench.run({"trainer", "summary", "run", "--no-probe", "--json"}).out).at("layers"));
  const auto wrong = std::lround(100 * (1 - run.at("eval").at("top1").get<double>()));
  CHECK(std::ssize(run.at("mistakes").at("items")) == wrong);

  std::filesystem::remove(bench / "run/report.html");
  const Outcome anew = bench.run({"trainer", "report", "run"});
  CHECK(anew.code == 0);
  CHECK(anew.out == "run/report.html\n");
  CHECK(data_of(read_file(bench / "run/report.html")).at("run").at("mistakes") == run.at("mistakes"));

  CHECK(bench.run({"trainer", "report", "nowhere"}).code == 2);
  CHECK(bench.run({"trainer", "report", "run", "--target", "2"}).code == 2);
  CHECK_THAT(bench.run({"trainer", "report", "."}).err, HasText("holds neither a run"));
}

TEST_CASE("trainer: a run that was stopped has a report, too; log.tensorboard=false writes no events", "[programs]") {
  const Workbench bench;
  REQUIRE(bench.train({"--out", "run", "--max-time", "0.0001s"}).code == 0);
  const json run = data_of(read_file(bench / "run/report.html")).at("run");
  CHECK(run.at("summary").at("stopped_by") == "--max-time");
  CHECK(run.at("eval").is_null());
  CHECK(run.at("mistakes").is_string());
  REQUIRE(bench.train({"--resume", "run"}).code == 0);
  CHECK(data_of(read_file(bench / "run/report.html")).at("run").at("metrics").at("epoch").size() == 2);
  CHECK(std::filesystem::exists(bench / "run/tb"));
  CHECK(bench.train({"--out", "none", "--set", "log.tensorboard=false"}).code == 0);
  CHECK(!std::filesystem::exists(bench / "none/tb"));
}

TEST_CASE("trainer: a disk too full for TensorBoard's events is told once, and training goes on", "[programs]") {
  const Workbench bench;
  // No file may grow over 52 KiB: the first step's pictures and the report do, small logs and checkpoints do not.
  const Outcome outcome = bench.run({"/bin/bash", "-c", "trap '' XFSZ; ulimit -f 52; exec \"$0\" tiny.json --out run", std::string(TERN_BINARY_DIR) + "/trainer"});
  INFO(outcome.err);
  CHECK(outcome.code == 0);
  CHECK(lines_of(read_file(bench / "run/steps.jsonl")).size() == 20);
  const std::string warning = "warning: tb cannot be written: is the disk full?";
  const size_t first = outcome.err.find(warning);
  REQUIRE(first != std::string::npos);
  CHECK(outcome.err.find(warning, first + 1) == std::string::npos);
}

TEST_CASE("trainer report RUN RUN: a page and a table with intervals and McNemar's test, as evaluate --compare has it", "[programs]") {
  const Workbench bench;
  REQUIRE(bench.train({"--out", "one", "--set", "train.ema=null"}).code == 0);
  REQUIRE(bench.train({"--out", "two", "--set", "train.ema=null", "--seed", "9"}).code == 0);
  const Outcome outcome = bench.run({"trainer", "report", "one", "two", "--out", "both.html", "--target", "0.01"});
  INFO(outcome.err);
  REQUIRE(outcome.code == 0);
  CHECK_THAT(outcome.out, HasText("95 % interval"));
  CHECK_THAT(outcome.out, HasText("both.html\n"));
  CHECK_THAT(outcome.out, HasText("effective batch"));
  const json page = data_of(read_file(bench / "both.html"));
  REQUIRE(page.at("runs").size() == 2);
  const json row = page.at("runs")[0].at("row"), eval = json::parse(read_file(bench / "one/eval.json"));
  CHECK(row.at("accuracy") == eval.at("top1"));
  CHECK(row.at("interval") == eval.at("top1_interval95"));
  CHECK(row.at("to_target").get<double>() > 0);
  const json summary = json::parse(bench.run({"trainer", "summary", "one", "--no-probe", "--json"}).out), facts = page.at("runs")[0].at("facts");
  CHECK(facts.at("parameters") == summary.at("parameters"));
  CHECK(facts.at("effective_batch") == summary.at("pictures_per_step"));
  const Outcome evaluated = bench.run({"evaluate", "one/checkpoints/last.safetensors", "two/checkpoints/last.safetensors", "--compare", "--json"});
  const json pair = json::parse(evaluated.out).at("compare").at(0), mine = page.at("pairs").at(0);
  CHECK(mine.at("only_first") == pair.at("only_first_right"));
  CHECK(mine.at("only_second") == pair.at("only_second_right"));
  CHECK(mine.at("p_value") == pair.at("p_value"));
}

TEST_CASE("trainer --dashboard: the page, points as they come, and the report at the end", "[programs]") {
  const Workbench bench;
  Process trainer({"trainer", "tiny.json", "--out", "run", "--dashboard=127.0.0.1:0", "--epochs", "400"}, bench.path());
  const int port = dashboard_port(trainer);
  REQUIRE(port > 0);
  std::string page;
  for (int i = 0; i < 3000 && page.find("id=\"data\"") == std::string::npos; ++i) {
    page.clear();
    get(port, "/", [&](const std::string& bytes) { page += bytes; });
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  CHECK(data_of(page).at("run").at("name") == "run");
  CHECK(data_of(page).contains("live"));

  const Outcome second = bench.run({"trainer", "tiny.json", "--out", "other", "--dashboard=127.0.0.1:" + std::to_string(port)});
  CHECK(second.code == 1);
  CHECK_THAT(second.err, HasText("--dashboard: 127.0.0.1:" + std::to_string(port) + " cannot be listened on"));

  std::string stream;
  bool stopped = false;
  get(port, "/events", [&](const std::string& bytes) {
    stream += bytes;
    if (!stopped && told(stream, "rows").size() >= 3) {
      trainer.send(SIGTERM);
      stopped = true;
    }
  });
  CHECK(trainer.wait().code == 143);
  const auto rows = told(stream, "rows");
  REQUIRE(rows.size() >= 3);
  CHECK(rows[0].at("reset") == true);
  int64_t before = rows[0].at("metrics").contains("epoch") ? rows[0].at("metrics").at("epoch").size() : 0;
  for (size_t i = 1; i < rows.size(); ++i) {
    if (!rows[i].contains("metrics")) continue;
    for (const json& epoch : rows[i].at("metrics").at("epoch")) CHECK(epoch == ++before);
  }
  CHECK(told(stream, "progress").back().at("epochs") == 400);
  REQUIRE(told(stream, "end").size() == 1);
  CHECK(told(stream, "end")[0].at("run").at("summary").at("stopped_by") == "signal 15");
}

TEST_CASE("Dashboard: other addresses than loopback want the token of the URL", "[programs]") {
  const TempDir dir;
  const Dashboard open({"127.0.0.1", 0}, dir.path()), guarded({"0.0.0.0", 0}, dir.path());
  CHECK(open.url().find("token") == std::string::npos);
  const std::string url = guarded.url(), token = url.substr(url.find("?token="));
  CHECK(token.size() == 7 + 32);
  const int port = std::atoi(url.c_str() + url.rfind(':') + 1);
  for (const std::string& path : {std::string("/"), std::string("/events"), "/" + token.substr(0, token.size() - 1), "/?token=" + std::string(32, '0')}) {
    INFO(path);
    CHECK(get(port, path) == 403);
  }
  CHECK(get(port, "/" + token) == 503);  // right, but there is no run yet
  PageServer first(1), second(1);
  first.listen({"127.0.0.1", 0}, "--x");
  CHECK_THROWS_WITH(second.listen({"127.0.0.1", first.port()}, "--x"), HasText("--x: 127.0.0.1:"));
}
