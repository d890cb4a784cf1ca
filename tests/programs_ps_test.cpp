// ps_server and ps_worker, the real programs: the bytes of `trainer` alone whatever happens to them.
#include <arpa/inet.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <map>
#include <memory>
#include <thread>

#include "tests/catch.h"
#include "tests/programs.h"
#include "tools/data_synthetic.h"

using namespace tern::test;

namespace {

constexpr int kStepsAnEpoch = 10;  // of Workbench's pictures

/// A server with its run folder and its workers.
class Cast {
 public:
  explicit Cast(const Args& security = {"--token-file", "token"}) : security_(security) {
    for (const char* name : {"token", "other-token"}) REQUIRE(bench.run({"trainer", "keygen", name}).code == 0);
  }

  /// Starts a server on `out`, on the port of the one before.
  Process& serve(const std::string& out, const Args& more = {}) {
    Args args{"ps_server", "tiny.json", "--out", out, "--listen", "127.0.0.1:" + port_, "--progress", "lines"};
    return serve_as(args, more);
  }
  /// The same where a file has at most `blocks` of 512 bytes.
  Process& serve_on_a_full_disk(const std::string& out, int blocks, const Args& more) {
    const std::string limit = "trap '' XFSZ; ulimit -f " + std::to_string(blocks) + "; exec " TERN_BINARY_DIR "/ps_server \"$@\"";
    Args args{"/bin/sh", "-c", limit, "sh", "tiny.json", "--out", out, "--listen", "127.0.0.1:" + port_, "--progress", "lines"};
    return serve_as(args, more);
  }
  /// A shard of it.
  std::unique_ptr<Process> shard(const Args& more = {}) const {
    Args args{"ps_server", "--shard-of", "127.0.0.1:" + port_, "--listen", "127.0.0.1:0", "--progress", "lines"};
    args.insert(args.end(), security_.begin(), security_.end());
    args.insert(args.end(), more.begin(), more.end());
    return std::make_unique<Process>(args, bench.path());
  }
  std::unique_ptr<Process> work(const Args& more = {}) const { return work_as(security_, more); }
  std::unique_ptr<Process> work_as(const Args& security, const Args& more = {}) const {
    Args args{"ps_worker", "--server", "127.0.0.1:" + port_, "--threads", "1", "--progress", "lines"};
    args.insert(args.end(), security.begin(), security.end());
    args.insert(args.end(), more.begin(), more.end());
    return std::make_unique<Process>(args, bench.path());
  }
  uint16_t port() const { return static_cast<uint16_t>(std::stoi(port_)); }

  /// Waits until `what` holds. Fails where `process` ends before, or a minute goes by.
  template <class Condition>
  void until(Process& process, const std::string& title, const Condition& what) const {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    while (!what()) {
      INFO("waiting for: " << title << "\n" << process.err());
      REQUIRE(process.running());
      REQUIRE(std::chrono::steady_clock::now() < deadline);
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }
  void until_it_says(Process& process, const std::string& text) const {
    until(process, text, [&] { return process.err().find(text) != std::string::npos; });
  }
  void until_steps(Process& process, const std::string& out, size_t count) const {
    until(process, std::to_string(count) + " steps", [&] { return lines_of(read_file(bench / out / "ledger.jsonl")).size() >= count; });
  }

  /// SHA-256 of the last checkpoint of a training without workers.
  std::string alone(int epochs) const {
    const std::string out = "alone" + std::to_string(epochs);
    REQUIRE(bench.train({"--out", out, "--epochs", std::to_string(epochs), "--progress", "none"}).code == 0);
    return bench.last_digest(out);
  }
  /// Every step in the ledger, once in each life of the server; the same results in all lives. Returns the lives.
  size_t check_ledger(const std::string& out, int steps, bool exact = true) const {
    std::map<int, nlohmann::json> known;
    std::map<int, std::set<int>> lives;
    for (const std::string& line : lines_of(read_file(bench / out / "ledger.jsonl"))) {
      const auto entry = nlohmann::json::parse(line);
      const int step = entry.at("step"), life = entry.at("run_epoch");
      INFO(line);
      CHECK(lives[life].insert(step).second);
      const auto& first = known.emplace(step, entry).first->second;
      CHECK((!exact || (first.at("gradient") == entry.at("gradient") && first.at("parameters") == entry.at("parameters"))));
      int lanes = 0;
      for (const auto& slot : entry.at("lanes")) {
        CHECK((slot.at(0) == lanes));
        lanes += slot.at(1).get<int>();
      }
      CHECK(lanes >= 3);
    }
    CHECK(known.size() == static_cast<size_t>(steps));
    if (!known.empty()) CHECK(known.rbegin()->first == steps - 1);
    return lives.size();
  }

  const Workbench bench;

 private:
  Process& serve_as(Args args, const Args& more) {
    args.insert(args.end(), security_.begin(), security_.end());
    args.insert(args.end(), more.begin(), more.end());
    server_.reset();
    server_ = std::make_unique<Process>(args, bench.path());
    const std::string before = "listening on 127.0.0.1:";
    until_it_says(*server_, " for workers\n");
    const std::string text = server_->err();
    const size_t at = text.find(before) + before.size();
    port_ = text.substr(at, text.find(' ', at) - at);
    return *server_;
  }

  Args security_;
  std::string port_ = "0";
  std::unique_ptr<Process> server_;
};

void check_end(Process& process, int code, const std::string& says) {
  const Outcome outcome = process.wait();
  INFO(outcome.err);
  CHECK(outcome.code == code);
  CHECK_THAT(outcome.err, HasText(says));
}

/// What the server answers to `text` until it closes. It must close: the reading waits for that.
std::string answer_to(uint16_t port, const std::string& text) {
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
  REQUIRE(::send(fd, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size()));
  std::string answer;
  char buffer[4096];
  for (ssize_t got = 1; got > 0;) {
    got = ::recv(fd, buffer, sizeof buffer, 0);
    if (got > 0) answer.append(buffer, static_cast<size_t>(got));
  }
  ::close(fd);
  return answer;
}

const std::string kPickle("\x80\x04\x95\x1f\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\tgradients\x94]\x94G?\xf0\x00\x00\x00\x00\x00\x00""aus.", 41);
const std::string kHttp = "GET /metrics HTTP/1.1\r\nHost: server\r\nAccept: */*\r\nUser-Agent: none\r\n\r\n";

}  // namespace

TEST_CASE("ps: 1, 2, 3 and 4 workers end in the bytes of trainer alone, over TLS and in plain text", "[programs]") {
  for (const auto& [security, counts] : {std::pair<Args, std::vector<int>>{{"--token-file", "token"}, {1, 2, 3, 4}}, {{"--insecure"}, {2}}}) {
    Cast cast(security);
    const std::string digest = cast.alone(2);
    for (const int count : counts) {
      INFO(count << " workers, " << security[0]);
      const std::string out = "served" + std::to_string(count);
      Process& server = cast.serve(out, {"--workers", std::to_string(count)});
      std::vector<std::unique_ptr<Process>> workers;
      for (int i = 0; i < count; ++i) workers.push_back(cast.work());
      check_end(server, 0, "epoch   2/2");
      for (const auto& worker : workers) {
        check_end(*worker, 0, "the training is complete; ");
        CHECK(worker->err().find("no connection") == std::string::npos);  // the end is no failure
      }
      CHECK(cast.bench.last_digest(out) == digest);
      CHECK(cast.check_ledger(out, 2 * kStepsAnEpoch) == 1);
      for (const char* column : {"step", "train_loss", "train_acc", "test_loss", "test_acc", "lr"})
        CHECK(csv_column(cast.bench / out / "metrics.csv", column) == csv_column(cast.bench / "alone2/metrics.csv", column));
    }
  }
}

TEST_CASE("ps: one worker is killed, one leaves, one joins late", "[programs]") {
  Cast cast;
  const std::string digest = cast.alone(40);
  Process& server = cast.serve("run", {"--workers", "2", "--epochs", "40"});
  const auto killed = cast.work(), leaves = cast.work();
  cast.until_steps(server, "run", 5);
  killed->send(SIGKILL);
  cast.until_it_says(server, "lost: worker ");
  cast.until_steps(server, "run", lines_of(read_file(cast.bench / "run/ledger.jsonl")).size() + 3);
  leaves->send(SIGTERM);
  check_end(*leaves, 143, "left; ");
  CHECK(server.running());  // it waits for others
  const auto late = cast.work();
  check_end(server, 0, "left: worker ");
  check_end(*late, 0, "the training is complete; ");
  CHECK(cast.bench.last_digest("run") == digest);
  CHECK(cast.check_ledger("run", 40 * kStepsAnEpoch) == 1);
}

TEST_CASE("ps: shards add up the gradients, and the bytes stay those of trainer alone", "[programs]") {
  for (const Args& security : {Args{"--token-file", "token"}, Args{"--insecure"}}) {
    Cast cast(security);
    const std::string digest = cast.alone(2);
    for (const auto& [shards, workers] : {std::pair{1, 1}, {2, 2}, {3, 3}}) {
      INFO(shards << " shards, " << workers << " workers, " << security[0]);
      const std::string out = "sharded" + std::to_string(shards);
      Process& server = cast.serve(out, {"--workers", std::to_string(workers), "--shards", std::to_string(shards)});
      std::vector<std::unique_ptr<Process>> others;
      for (int i = 0; i < shards; ++i) others.push_back(cast.shard());
      for (int i = 0; i < workers; ++i) others.push_back(cast.work());
      check_end(server, 0, "sharded: gradients go to " + std::to_string(shards) + " shard");
      for (const auto& other : others) check_end(*other, 0, "the training is complete; ");
      for (int i = 0; i < shards; ++i) CHECK_THAT(others[static_cast<size_t>(i)]->err(), HasText("; " + std::to_string(2 * kStepsAnEpoch) + " steps added up"));
      CHECK(cast.bench.last_digest(out) == digest);
      CHECK(cast.check_ledger(out, 2 * kStepsAnEpoch) == 1);
    }
  }
}

TEST_CASE("ps: a shard is killed, one leaves, the server goes on alone; later one joins, and the server is killed", "[programs]") {
  Cast cast;
  const std::string digest = cast.alone(60);
  const Args more{"--workers", "2", "--shards", "2", "--epochs", "60", "--resume", "auto"};
  Process& server = cast.serve("run", more);
  const auto killed = cast.shard(), leaves = cast.shard();
  const auto one = cast.work(), two = cast.work();
  const auto steps = [&] { return lines_of(read_file(cast.bench / "run/ledger.jsonl")).size(); };
  cast.until_steps(server, "run", 5);
  killed->send(SIGKILL);
  cast.until_it_says(server, "sharded: gradients go to 1 shard\n");
  cast.until_steps(server, "run", steps() + 3);
  leaves->send(SIGTERM);
  check_end(*leaves, 143, "left; ");
  cast.until_it_says(server, "sharded: gradients come to the server");
  cast.until_steps(server, "run", steps() + 3);
  const auto late = cast.shard({"--name", "late"});
  cast.until_it_says(server, "(late): is ready");
  cast.until_steps(server, "run", steps() + 3);
  CHECK(server.running());
  server.send(SIGKILL);
  server.wait();
  Process& second = cast.serve("run", more);
  check_end(second, 0, "resumed from ");
  CHECK_THAT(second.err(), HasText("sharded: gradients go to 1 shard\n"));
  for (const auto& other : {late.get(), one.get(), two.get()}) check_end(*other, 0, "the training is complete; ");
  CHECK(cast.bench.last_digest("run") == digest);
  CHECK(cast.check_ledger("run", 60 * kStepsAnEpoch) == 2);
}

TEST_CASE("ps: half-precision gradients and mode epoch have the same bytes with shards as without", "[programs]") {
  Cast cast;
  for (const Args& more : {Args{"--wire", "f16"}, Args{"--mode", "epoch"}}) {
    INFO(more[1]);
    std::string digest;
    for (const int shards : {0, 2}) {
      Args args{"--workers", "4", "--epochs", "2"};  // slots are single lanes
      args.insert(args.end(), more.begin(), more.end());
      if (shards > 0) args.insert(args.end(), {"--shards", std::to_string(shards)});
      const std::string out = more[1] + std::to_string(shards);
      Process& server = cast.serve(out, args);
      std::vector<std::unique_ptr<Process>> others;
      for (int i = 0; i < shards; ++i) others.push_back(cast.shard());
      for (int i = 0; i < 4; ++i) others.push_back(cast.work());
      check_end(server, 0, "epoch   2/2");
      for (const auto& other : others) check_end(*other, 0, "the training is complete; ");
      if (digest.empty()) digest = cast.bench.last_digest(out);
      CHECK(cast.bench.last_digest(out) == digest);
    }
  }
}

TEST_CASE("ps: who comes to the wrong place is told", "[programs]") {
  Cast cast;
  Process& plain = cast.serve("plain");
  const auto unwanted = cast.shard();
  check_end(*unwanted, 2, "the server was not told to take shards (--shards)");
  CHECK(plain.running());
  cast.serve("run", {"--shards", "2", "--epochs", "40"});
  const auto stranger = cast.shard({"--reconnect", "1s"}), other = cast.shard();
  const auto worker = cast.work();
  cast.until_it_says(*stranger, ": is ready");
  const std::string text = stranger->err(), before = "listening on ";
  const std::string address = text.substr(text.find(before) + before.size(), text.find(" for workers") - text.find(before) - before.size());
  const Outcome lost = cast.bench.run({"ps_worker", "--server", address, "--token-file", "token", "--progress", "none"});
  CHECK(lost.code == 2);
  CHECK_THAT(lost.err, HasText("this is a shard: workers come to the server that it belongs to"));
}

TEST_CASE("ps: a worker that stops for longer than its lease loses its lanes, and is taken back", "[programs]") {
  Cast cast;
  const std::string digest = cast.alone(20);
  Process& server = cast.serve("run", {"--epochs", "20"});
  const auto stopped = cast.work();
  cast.until_steps(server, "run", 5);
  stopped->send(SIGSTOP);
  cast.until_it_says(server, "lapsed: worker 1");
  const auto other = cast.work();
  cast.until_it_says(server, "reassigned: worker 2");
  stopped->send(SIGCONT);
  check_end(server, 0, "recovered: worker 1");
  check_end(*stopped, 0, "the training is complete; ");
  check_end(*other, 0, "the training is complete; ");
  CHECK(cast.bench.last_digest("run") == digest);
  CHECK(cast.check_ledger("run", 20 * kStepsAnEpoch) == 1);
}

TEST_CASE("ps: a killed server goes on with --resume auto, and its workers find it again", "[programs]") {
  Cast cast;
  const std::string digest = cast.alone(20);
  const Args more{"--workers", "2", "--epochs", "20", "--resume", "auto"};
  Process& first = cast.serve("run", more);
  const auto one = cast.work(), two = cast.work();
  cast.until_steps(first, "run", 25);
  first.send(SIGKILL);
  first.wait();
  Process& second = cast.serve("run", more);
  check_end(second, 0, "resumed from ");
  for (const auto& worker : {one.get(), two.get()}) check_end(*worker, 0, "no connection: ");
  CHECK(cast.bench.last_digest("run") == digest);
  CHECK(cast.check_ledger("run", 20 * kStepsAnEpoch) == 2);
}

TEST_CASE("ps: a server that is told to stop saves and sends its workers home; another life ends in the same bytes", "[programs]") {
  Cast cast;
  const std::string digest = cast.alone(20);
  const Args more{"--epochs", "20", "--resume", "auto"};
  Process& first = cast.serve("run", more);
  const auto one = cast.work();
  cast.until_steps(first, "run", 25);
  first.send(SIGTERM);
  check_end(first, 143, "stopped by signal 15 in epoch ");
  check_end(*one, 0, "the server stops; ");
  Process& second = cast.serve("run", more);
  const auto two = cast.work();
  check_end(second, 0, "resumed from ");
  check_end(*two, 0, "the training is complete; ");
  CHECK(cast.bench.last_digest("run") == digest);
  CHECK(cast.check_ledger("run", 20 * kStepsAnEpoch) == 2);
}

TEST_CASE("ps: a server that is told to stop while nobody computes its step loses none", "[programs]") {
  const std::string mode = GENERATE(as<std::string>{}, "bsp", "asp");
  INFO(mode);
  Cast cast;
  const Args more{"--mode", mode, "--epochs", "30", "--resume", "auto"};
  Process& server = cast.serve("run", more);
  const auto killed = cast.work();
  cast.until_steps(server, "run", 3);
  killed->send(SIGKILL);
  killed->wait();
  cast.until_it_says(server, "lost: ");
  const size_t steps = lines_of(read_file(cast.bench / "run/ledger.jsonl")).size();
  REQUIRE(steps < 30 * kStepsAnEpoch);
  server.send(SIGTERM);
  const bool exact = mode == "bsp";
  const std::string where = "in epoch " + std::to_string(steps / kStepsAnEpoch + 1) + " after step " + std::to_string(steps % kStepsAnEpoch);
  check_end(server, 143, "stopped by signal 15 " + (exact ? where + "; --resume goes on from here" : ""));
  Process& second = cast.serve("run", more);
  const auto worker = cast.work();
  check_end(second, 0, exact ? "resumed from " : "");
  check_end(*worker, 0, "the training is complete; ");
  CHECK(cast.check_ledger("run", 30 * kStepsAnEpoch, exact) == 2);
  if (exact) CHECK(cast.bench.last_digest("run") == cast.alone(30));
}

TEST_CASE("ps: strangers, wrong tokens, other data and a second server are turned away", "[programs]") {
  Cast cast;
  const std::string digest = cast.alone(2);
  tern::data::write_synthetic(cast.bench / "elsewhere", {.train = 320, .test = 100, .seed = 99});
  Process& server = cast.serve("run");
  cast.until_it_says(server, "run folder: ");

  for (const std::string& text : {kPickle, kHttp, std::string(3000, 'x')}) answer_to(cast.port(), text);
  const auto unknown = cast.work_as({"--token-file", "other-token", "--reconnect", "1s"});
  const auto plain = cast.work_as({"--insecure", "--reconnect", "1s"});
  const auto other_data = cast.work({"--data", "elsewhere"});
  check_end(*unknown, 7, "token");
  check_end(*plain, 7, "TLS");
  check_end(*other_data, 3, "elsewhere: the training pictures are not those of the server");
  cast.until_it_says(server, "the worker refuses (data_mismatch)");
  const Outcome second = cast.bench.run({"ps_server", "tiny.json", "--listen", "127.0.0.1:0", "--token-file", "token", "--out", "run", "--resume", "auto"});
  CHECK(second.code == 2);
  CHECK_THAT(second.err, HasText("run: another process is training in this run folder"));

  const auto worker = cast.work();
  check_end(server, 0, "epoch   2/2");
  check_end(*worker, 0, "the training is complete; ");
  CHECK(cast.bench.last_digest("run") == digest);

  Cast open_cast({"--insecure"});
  Process& open_server = open_cast.serve("run");
  for (const std::string& text : {kPickle, kHttp}) CHECK_THAT(answer_to(open_cast.port(), text), HasText("no frame of tern"));
  open_cast.until_it_says(open_server, "bad_magic");
  CHECK(open_server.running());
}

TEST_CASE("ps: what people get wrong on the command line", "[programs]") {
  const Workbench bench;
  REQUIRE(bench.run({"trainer", "keygen", "token"}).code == 0);
  write_file(bench / "readable", std::string(64, 'a') + "\n");
  std::filesystem::permissions(bench / "readable", std::filesystem::perms{0644});
  const auto server = [](Args more) {
    Args args{"ps_server", "tiny.json", "--out", "run", "--progress", "none"};
    args.insert(args.end(), more.begin(), more.end());
    return args;
  };
  const auto listening = [&](Args more) {
    more.insert(more.begin(), {"--listen", "127.0.0.1:0"});
    return server(more);
  };
  std::set<std::string> messages;
  check_cases(bench,
              {{server({"--token-file", "token"}), 2, "--listen"},
               {server({"--listen", "7070x", "--token-file", "token"}), 2, "--listen: got \"7070x\""},
               {server({"--listen", "127.0.0.1:70700", "--token-file", "token"}), 2, "127.0.0.1:70700"},
               {server({"--listen", "0.0.0.0:0", "--insecure"}), 2, "loopback"},
               {listening({}), 2, "no protection chosen"},
               {listening({"--token-file", "token", "--insecure"}), 2, "more than one protection"},
               {listening({"--token-file", "none"}), 2, "token file none"},
               {listening({"--token-file", "readable"}), 2, "chmod 600 readable"},
               {listening({"--token-file", "token", "--mode", "bulk"}), 2, "--mode: got \"bulk\""},
               {listening({"--token-file", "token", "--mode", "ssp"}), 2, "--mode: got \"ssp\""},
               {listening({"--token-file", "token", "--wire", "f64"}), 2, "--wire: got \"f64\""},
               {listening({"--token-file", "token", "--wire", "topk:0"}), 2, "topk:0\", wanted a FRACTION"},
               {listening({"--token-file", "token", "--wire", "topk:0.1x"}), 2, "topk:0.1x"},
               {listening({"--token-file", "token", "--wire", "topk:0.1", "--mode", "asp"}), 2, "--wire topk is for --mode bsp"},
               {listening({"--token-file", "token", "--workers", "0"}), 2, "--workers"},
               {listening({"--token-file", "token", "--shards", "0"}), 2, "--shards"},
               {listening({"--token-file", "token", "--shards", "2", "--mode", "asp"}), 2, "--shards is for --mode bsp and epoch"},
               {listening({"--token-file", "token", "--shards", "2", "--wire", "topk:0.1"}), 2, "--shards is for --wire f32 and f16"},
               {listening({"--token-file", "token", "--advertise", "a:1"}), 2, "--advertise: is a shard's"},
               {listening({"--token-file", "token", "--shard-of", "127.0.0.1:1"}), 2, "a shard is told by the server what is trained"},
               {{"ps_server", "--shard-of", ":1", "--listen", "127.0.0.1:0", "--token-file", "token"}, 2, "--shard-of: got \":1\", wanted HOST:PORT"},
               {{"ps_server", "--shard-of", "127.0.0.1:1", "--listen", "127.0.0.1:0", "--token-file", "token", "--mode", "epoch"}, 2, "--mode: a shard is told by the server"},
               {{"ps_server", "--shard-of", "127.0.0.1:1", "--listen", "127.0.0.1:0", "--token-file", "token", "--reconnect", "1s", "--progress", "none"}, 7, "no server at 127.0.0.1:1 for 1 s"},
               {{"ps_worker", "--token-file", "token"}, 2, "--server"},
               {{"ps_worker", "--server", ":7070", "--token-file", "token"}, 2, "wanted HOST:PORT"},
               {{"ps_worker", "--server", "127.0.0.1:7070"}, 2, "no protection chosen"},
               {{"ps_worker", "--server", "10.0.0.1:7070", "--insecure", "--progress", "none"}, 2, "loopback"},
               {{"ps_worker", "--server", "127.0.0.1:1", "--token-file", "token", "--reconnect", "1s", "--progress", "none"}, 7, "no server at 127.0.0.1:1 for 1 s"}},
              messages);
}

TEST_CASE("ps: modes asp, ssp and epoch take each step once; epoch's bytes do not depend on the workers", "[programs]") {
  Cast cast;
  std::string digest;
  for (const auto& [mode, count] : {std::pair<std::string, int>{"asp", 2}, {"ssp:1", 2}, {"epoch", 1}, {"epoch", 3}}) {
    INFO(mode << ", " << count << " workers");
    const std::string out = mode.substr(0, 3) + std::to_string(count);
    Process& server = cast.serve(out, {"--mode", mode, "--workers", std::to_string(count), "--epochs", "3"});
    std::vector<std::unique_ptr<Process>> workers;
    for (int i = 0; i < count; ++i) workers.push_back(cast.work());
    check_end(server, 0, "epoch   3/3");
    for (const auto& worker : workers) check_end(*worker, 0, "the training is complete; ");
    CHECK(cast.check_ledger(out, mode == "epoch" ? 3 : 3 * kStepsAnEpoch) == 1);
    if (mode != "epoch") continue;
    if (digest.empty()) digest = cast.bench.last_digest(out);
    CHECK(cast.bench.last_digest(out) == digest);
  }
}

TEST_CASE("ps: topk gives the same bytes for any number of workers, and after the server was killed or stopped", "[programs]") {
  Cast cast;
  std::string digest;
  for (const int count : {1, 3}) {
    const std::string out = "calm" + std::to_string(count);
    Process& server = cast.serve(out, {"--wire", "topk:0.05", "--workers", std::to_string(count), "--epochs", "20"});
    std::vector<std::unique_ptr<Process>> workers;
    for (int i = 0; i < count; ++i) workers.push_back(cast.work());
    check_end(server, 0, "epoch  20/20");
    for (const auto& worker : workers) check_end(*worker, 0, "the training is complete; ");
    CHECK(cast.check_ledger(out, 20 * kStepsAnEpoch) == 1);
    CHECK(read_file(cast.bench / out / "ledger.jsonl").find("dropped") == std::string::npos);
    if (digest.empty()) digest = cast.bench.last_digest(out);
    CHECK(cast.bench.last_digest(out) == digest);
  }
  CHECK(digest != cast.alone(20));
  const Args more{"--wire", "topk:0.05", "--workers", "2", "--epochs", "20", "--resume", "auto"};
  Process& first = cast.serve("run", more);
  const auto one = cast.work(), two = cast.work();
  cast.until_steps(first, "run", 25);
  first.send(SIGKILL);
  first.wait();
  Process& second = cast.serve("run", more);
  cast.until_steps(second, "run", 65);
  second.send(SIGTERM);
  const Outcome stopped = second.wait();
  CHECK(stopped.code == 143);
  CHECK_THAT(stopped.err, HasText("stopped by signal 15 in epoch "));
  for (const auto& worker : {one.get(), two.get()}) check_end(*worker, 0, "the server stops; ");
  Process& third = cast.serve("run", more);
  const auto three = cast.work(), four = cast.work();
  check_end(third, 0, "resumed from ");
  CHECK(cast.bench.last_digest("run") == digest);
  CHECK(cast.check_ledger("run", 20 * kStepsAnEpoch) == 3);
}

TEST_CASE("ps: topk goes on without what a killed worker held back, and says so", "[programs]") {
  Cast cast;
  Process& server = cast.serve("run", {"--wire", "topk:0.05", "--workers", "2", "--epochs", "40"});
  const auto killed = cast.work(), stays = cast.work();
  size_t dropped = 0;
  cast.until_steps(server, "run", 5);
  killed->send(SIGKILL);
  check_end(server, 0, "lost: worker ");
  check_end(*stays, 0, "the training is complete; ");
  for (const std::string& line : lines_of(read_file(cast.bench / "run/ledger.jsonl"))) dropped += nlohmann::json::parse(line).value("dropped", nlohmann::json::array()).size();
  CHECK(dropped <= 2);  // its lanes, once; none where it was killed after a whole step
  CHECK((dropped > 0) == (server.err().find("dropped: worker ") != std::string::npos));
  CHECK(cast.check_ledger("run", 40 * kStepsAnEpoch) == 1);
}

TEST_CASE("ps: a full disk does not stop the training, and is told", "[programs]") {
  Cast cast;
  const std::string digest = cast.alone(10);
  const Args more{"--epochs", "10", "--resume", "auto"};
  Process& first = cast.serve("run", more);
  const auto worker = cast.work();
  cast.until(first, "a checkpoint", [&] { return std::filesystem::exists(cast.bench / "run/checkpoints/last.safetensors"); });
  first.send(SIGKILL);
  first.wait();
  const std::string before = cast.bench.last_digest("run");
  Process& full = cast.serve_on_a_full_disk("run", 16, more);  // logs fit, checkpoints do not
  check_end(full, 1, "warning: checkpoint not saved, training goes on");
  CHECK_THAT(full.err(), HasText("warning: ledger.jsonl cannot be written"));
  CHECK_THAT(full.err(), HasText("epoch  10/10"));
  CHECK_THAT(full.err(), HasText("the last checkpoint could not be saved"));
  check_end(*worker, 0, "the server stops; ");
  CHECK(cast.bench.last_digest("run") == before);
  Process& last = cast.serve("run", more);
  const auto again = cast.work();
  check_end(last, 0, "resumed from ");
  CHECK(cast.bench.last_digest("run") == digest);
}
