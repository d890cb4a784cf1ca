#include "tools/cli_ps.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>

#include "core/version.h"
#include "tools/cli_parts.h"

namespace tern {
namespace {

using namespace cli;

/// --token-file, --tls-..., --insecure
struct SecurityText {
  std::string token_file;
  dist::Security security;

  void add(CLI::App& app) {
    app.add_option("--token-file", token_file, "The secret that server and workers share (trainer keygen FILE)")->type_name("FILE");
    app.add_option("--tls-cert", security.certificate, "Own certificate, PEM, instead of a token")->type_name("FILE");
    app.add_option("--tls-key", security.key, "Its key")->type_name("FILE");
    app.add_option("--tls-ca", security.authority, "Who signs the other side's certificates")->type_name("FILE");
    app.add_flag("--insecure", security.insecure, "No TLS; loopback addresses only");
  }
  dist::Security result() {
    if (!token_file.empty()) security.token = dist::read_token(token_file);
    dist::check(security);
    return security;
  }
};

/// "bsp", "asp", "ssp:K", "epoch"
void parse_mode(const std::string& text, PsOptions& options) {
  const std::string wanted = "--mode: got \"" + text + "\", wanted bsp, asp, ssp:K or epoch";
  const std::string name = text.substr(0, text.find(':'));
  std::optional<dist::Mode> mode;
  for (int i = 0; i < dist::kModes; ++i)
    if (dist::name_of(static_cast<dist::Mode>(i)) == name) mode = static_cast<dist::Mode>(i);
  if (!mode) throw ConfigError(wanted);
  options.mode = *mode;
  const std::string_view bound = name.size() < text.size() ? std::string_view(text).substr(name.size() + 1) : std::string_view();
  const auto [stop, error] = std::from_chars(bound.data(), bound.data() + bound.size(), options.staleness);
  const bool number = !bound.empty() && error == std::errc{} && stop == bound.data() + bound.size() && options.staleness >= 0;
  if (*mode == dist::Mode::ssp ? !number : name.size() != text.size()) throw ConfigError(wanted);
}

/// "f32", "f16", "topk:FRACTION"
void parse_wire(const std::string& text, PsOptions& options) {
  constexpr std::string_view kTopK = "topk:";
  if (!text.starts_with(kTopK)) {
    if (text != "f32" && text != "f16") throw ConfigError("--wire: got \"" + text + "\", wanted f32, f16 or topk:FRACTION, as topk:0.01");
    options.wire = text == "f16" ? dist::Wire::f16 : dist::Wire::f32;
    return;
  }
  options.wire = dist::Wire::topk;
  const std::string_view number = std::string_view(text).substr(kTopK.size());
  const auto [stop, error] = std::from_chars(number.data(), number.data() + number.size(), options.top_k);
  if (error != std::errc{} || stop != number.data() + number.size() || !(options.top_k > 0 && options.top_k <= 0.5))
    throw ConfigError("--wire: got \"" + text + "\", wanted a FRACTION over 0 and at most 0.5: beyond, f32 is smaller");
  if (options.mode != dist::Mode::bsp)
    throw ConfigError("--wire topk is for --mode bsp: in " + std::string(dist::name_of(options.mode)) + " lanes do not follow step after step");
}

/// What a shard takes its word for from the server.
constexpr const char* kShardOptions[] = {"--shard-of", "--listen", "--advertise", "--name", "--reconnect", "--progress", "--token-file", "--tls-cert", "--tls-key", "--tls-ca", "--insecure"};

bool is_shards(const std::string& option) {
  return std::ranges::find(kShardOptions, option, [](const char* name) { return std::string(name); }) != std::end(kShardOptions);
}

/// At most 64 bytes, which a process's number may take part of.
std::string host_and_process() {
  char host[50] = "worker";
  gethostname(host, sizeof host - 1);
  return (dist::is_line(host) ? host : "worker") + ("-" + std::to_string(getpid()));
}

/// The name that people see; default: HOST-PROCESS.
std::string name_or_default(const std::string& name) {
  if (name.size() > 64 || !dist::is_line(name)) throw ConfigError("--name: wanted at most 64 bytes of UTF-8 without control characters");
  return name.empty() ? host_and_process() : name;
}

std::chrono::milliseconds reconnect_time(const std::string& text) {
  return std::chrono::milliseconds(static_cast<int64_t>(1000 * parse_duration(text, "--reconnect")));
}

dist::Address parse_server_address(const std::string& text, const std::string& option) {
  dist::Address address = dist::parse_address(text, option);
  if (address.host.empty()) throw ConfigError(option + ": got \"" + text + "\", wanted HOST:PORT");
  if (text.size() > dist::kLongestAddress || !dist::is_line(text)) throw ConfigError(option + ": wanted at most 300 bytes of UTF-8 without control characters");
  return address;
}

}  // namespace

ServerCommand parse_server(std::span<const char* const> argv) {
  ServerArgs args;
  Recipe recipe;
  SecurityText security;
  std::string listen, metrics, mode = "bsp", wire = "f32", resume, max_time, shard_of, name, reconnect = "60s";
  ShardArgs shard;
  CLI::App app{"Trains a network on workers: the server, which holds the parameters; or a shard of it", "ps_server"};
  app.set_version_flag("--version", std::string(version()));
  add_recipe(app, recipe, args.train);
  const bool shards = std::ranges::any_of(argv, [](std::string_view arg) { return arg.starts_with("--shard-of"); });
  app.get_option("CONFIG")->required(!shards);
  app.add_option("--listen", listen, "Where workers come to, HOST:PORT; port 0: any that is free")->required()->type_name("HOST:PORT");
  security.add(app);
  app.add_option("--workers", args.ps.workers, "Starts when so many are ready, and goes on with fewer")->check(CLI::Range(1, 1024))->capture_default_str();
  app.add_option("--shards", args.ps.shards, "Takes shards, which add up parts of the gradients; starts when so many are ready, and goes on with fewer")->check(CLI::Range(1, 256));
  app.add_option("--shard-of", shard_of, "Be a shard of the server there, which says what is trained: without CONFIG")->type_name("HOST:PORT");
  app.add_option("--advertise", shard.advertise, "A shard's address for workers; default: as in --listen, or whence it comes")->type_name("HOST:PORT");
  app.add_option("--name", name, "A shard's name, for people; default: HOST-PROCESS")->type_name("S");
  app.add_option("--reconnect", reconnect, "How long a shard tries where the server is gone")->type_name("TIME")->capture_default_str();
  app.add_option("--mode", mode, "bsp: exact; asp, ssp:K: each result as it comes; epoch: one update an epoch")->type_name("bsp|asp|ssp:K|epoch")->capture_default_str();
  app.add_option("--wire", wire, "How gradients travel; topk: of each lane the largest ones")->type_name("f32|f16|topk:FRACTION")->capture_default_str();
  app.add_option("--metrics", metrics, "Serve Prometheus text at /metrics and a page of the workers at /")->type_name("HOST:PORT");
  app.add_option("--resume", resume, "Go on with a run; alone or `auto`: the one in --out, or the newest that fits")->type_name("[RUN|auto]");
  app.add_option("--init-from", args.train.init_from, "Start from these weights")->type_name("FILE");
  app.add_option("--epochs", recipe.epochs, "Epochs")->type_name("N");
  app.add_option("--max-time", max_time, "Stop with a checkpoint after 90s, 30m, 2h ...")->type_name("TIME");
  app.footer(
      "Examples:\n"
      "  trainer keygen token && ps_server tools/configs/cifar-cnn.json --listen 0.0.0.0:7070 --token-file token --workers 2\n"
      "  ps_server tools/configs/cifar-cnn.json --listen :7070 --token-file token --out runs/a --resume auto\n"
      "  ps_server --shard-of gpu1:7070 --listen :7071 --token-file token\n"
      "Exit codes: as trainer's.");
  if (std::optional<CliText> text = parse(app, fill_in_values(argv))) return *text;
  apply_recipe(recipe, args.train);
  if (shards) {
    for (const CLI::Option* option : app.get_options())
      if (option->count() > 0 && !is_shards(option->get_name())) throw ConfigError(option->get_name() + ": a shard is told by the server what is trained");
    shard.server = parse_server_address(shard_of, "--shard-of");
    shard.listen = dist::parse_address(listen, "--listen");
    if (!shard.advertise.empty()) parse_server_address(shard.advertise, "--advertise");
    shard.name = name_or_default(name);
    shard.reconnect = reconnect_time(reconnect);
    shard.progress = args.train.progress;
    shard.security = security.result();
    return shard;
  }
  for (const char* option : {"--advertise", "--name", "--reconnect"})
    if (app.count(option) > 0) throw ConfigError(std::string(option) + ": is a shard's (--shard-of)");
  refuse_both(app, "--resume", "--init-from");
  apply_epochs(recipe.epochs, args.train);
  if (!args.train.epochs.empty()) throw ConfigError("--epochs: ps_server takes one number");
  if (app.count("--resume") > 0) args.train.resume = resume;
  if (!max_time.empty()) args.train.max_seconds = parse_duration(max_time, "--max-time");
  parse_mode(mode, args.ps);
  parse_wire(wire, args.ps);
  if (args.ps.shards > 0 && !dist::is_exact(args.ps.mode))
    throw ConfigError("--shards is for --mode bsp and epoch: in " + std::string(dist::name_of(args.ps.mode)) + " parts of a gradient would be of several workers, who differ");
  if (args.ps.shards > 0 && args.ps.wire == dist::Wire::topk) throw ConfigError("--shards is for --wire f32 and f16: with topk a worker's gradient is small");
  args.ps.listen = dist::parse_address(listen, "--listen");
  if (!metrics.empty()) args.metrics = dist::parse_address(metrics, "--metrics");
  args.ps.security = security.result();
  return args;
}

WorkerCommand parse_worker(std::span<const char* const> argv) {
  WorkerArgs args;
  SecurityText security;
  std::string server, progress = "auto", reconnect = "60s";
  bool no_fold = false, no_plan = false, no_overlap = false;
  CLI::App app{"Computes lanes for a ps_server, which says what is trained", "ps_worker"};
  app.set_version_flag("--version", std::string(version()));
  app.add_option("--server", server, "The server, HOST:PORT")->required()->type_name("HOST:PORT");
  security.add(app);
  app.add_option("--name", args.name, "For people; default: HOST-PROCESS")->type_name("S");
  app.add_option("--device", args.device, "Where to compute")->type_name(kDeviceType)->capture_default_str();
  app.add_option("--threads", args.threads, "CPU threads; 0: all")->check(CLI::Range(0, 4096))->capture_default_str();
  app.add_option("--data", args.data, "This machine's folder of the data; default: as in the server's config")->type_name("DIR");
  app.add_option("--reconnect", reconnect, "How long to try where the server is gone")->type_name("TIME")->capture_default_str();
  app.add_flag("--no-fold", no_fold, "Lanes one after another, not in one batch");
  app.add_flag("--no-plan", no_plan, "Eager execution: no recorded plan");
  app.add_flag("--no-overlap", no_overlap, "Send a gradient when all of it is computed");
  app.add_option("--progress", progress, "How progress is shown on stderr")->type_name(kProgressType);
  app.footer(
      "Example:\n"
      "  ps_worker --server gpu1:7070 --token-file token --data data\n"
      "Exit codes: 0 training ended, 1 failure, 2 usage or config, 3 data, 4 device, 7 the server is gone, 130/143 left.");
  if (std::optional<CliText> text = parse(app, {argv.begin() + 1, argv.end()})) return *text;
  args.server = parse_server_address(server, "--server");
  args.name = name_or_default(args.name);
  parse_device(args.device);
  args.progress = progress_style(progress);
  args.reconnect = reconnect_time(reconnect);
  args.fold = !no_fold;
  args.plan = !no_plan;
  args.overlap = !no_overlap;
  args.security = security.result();
  return args;
}

}  // namespace tern
