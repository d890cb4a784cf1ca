#include "tools/cli.h"

#include <charconv>
#include <cmath>

#include "core/error.h"
#include "core/version.h"
#include "dist/transport.h"
#include "tools/cli_inspect.h"
#include "tools/cli_parts.h"
#include "tools/cli_report.h"
#include "tools/cli_text.h"
#include "tools/config_table.h"
#include "tools/nearest.h"

namespace tern {
namespace cli {

void add_config(CLI::App& app, Recipe& r, TrainArgs& args) {
  app.add_option("CONFIG", args.config, "Config file (JSON); docs/config.md lists the keys");
  app.add_option("--set", r.sets, "Set one value of the config; may be repeated")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  app.add_option("--seed", r.seed, "Same as --set run.seed=N")->type_name("N");
  app.add_option("--device", r.device, "Where to train")->type_name(kDeviceType);
  app.add_option("--precision", r.precision, "Of the passes; auto: fp16 on CUDA, fp32 on the CPU")->type_name("auto|fp32|tf32|bf16|fp16");
  app.add_option("--threads", r.threads, "CPU threads; 0: all")->type_name("N");
}

void add_recipe(CLI::App& app, Recipe& r, TrainArgs& args) {
  add_config(app, r, args);
  app.add_option("--out", args.out, "Run folder; default: runs/NAME-STAMP")->type_name("DIR");
  app.add_flag("--no-fold", r.no_fold, "Lanes one after another, not in one batch");
  app.add_flag("--no-plan", r.no_plan, "Eager execution: no recorded plan");
  app.add_flag("--no-fusion", r.no_fusion, "No fused kernels in the plan");
  app.add_flag("--no-planner", r.no_planner, "No memory planning in the plan");
  app.add_flag("--no-graph", r.no_graph, "No CUDA graph of the plan");
  app.add_flag("--poison", args.poison, "Debugging: fill memory with NaN before its first use and after its last");
  app.add_option("--progress", r.progress, "How progress is shown on stderr")->type_name(kProgressType);
}

ProgressStyle progress_style(const std::string& text) {
  return choice<ProgressStyle, 5>(text, "--progress", {"auto", "bar", "lines", "json", "none"});
}

void apply_recipe(const Recipe& r, TrainArgs& args) {
  for (const std::string& set : r.sets) args.overrides.push_back(parse_set(set));
  const auto add = [&](const char* option, const char* path, const std::string& value, bool text) {
    if (value.empty()) return;
    args.overrides.push_back({path, text ? '"' + value + '"' : value, std::string(option) + " " + value});
  };
  add("--seed", "run.seed", r.seed, false);
  add("--device", "run.device", r.device, true);
  add("--precision", "run.precision", r.precision, true);
  add("--threads", "run.threads", r.threads, false);
  args.progress = progress_style(r.progress);
  args.fold = !r.no_fold;
  args.plan = !r.no_plan;
  args.fusion = !r.no_fusion;
  args.planner = !r.no_planner;
  args.graph = !r.no_graph;
}

void apply_epochs(const std::string& text, TrainArgs& args) {
  if (text.empty()) return;
  const std::vector<uint64_t> counts = parse_counts(text, "--epochs");
  for (const uint64_t n : counts) {
    if (n < 1 || n > 1000000) throw ConfigError("--epochs: got " + std::to_string(n) + ", wanted 1 to 1000000");
  }
  if (text.find_first_of(".,") != std::string::npos) {
    args.epochs.assign(counts.begin(), counts.end());
  } else {
    args.overrides.push_back({"train.epochs", std::to_string(counts[0]), "--epochs " + text});
  }
}

void refuse_both(const CLI::App& app, const char* a, const char* b) {
  if (app.count(a) > 0 && app.count(b) > 0) throw ConfigError(std::string(a) + " and " + b + ": wanted one of the two");
}

std::vector<std::string> names_of(const CLI::App& app, bool options) {
  const std::vector<CLI::App*> chosen = app.get_subcommands();
  if (!chosen.empty()) return names_of(*chosen.back(), options);
  std::vector<std::string> names;
  if (options) {
    for (const CLI::Option* option : app.get_options()) {
      for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
    }
  } else {
    for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
      names.push_back(command->get_name());
    }
  }
  return names;
}

namespace {

[[noreturn]] void fail_extras(const CLI::App& app, const std::string& fallback) {
  const std::vector<std::string> rest = app.remaining(true);
  if (rest.empty()) throw ConfigError(fallback);
  const bool option = rest[0].starts_with("-");
  const std::string name = rest[0].substr(0, rest[0].find('='));
  const std::string near = nearest_name(name, names_of(app, option));
  throw ConfigError((option ? "unknown option \"" : "unexpected argument \"") + name + "\"" +
                    (near.empty() ? "; see --help" : "; did you mean \"" + near + "\"?"));
}

}  // namespace

std::optional<CliText> parse(CLI::App& app, const std::vector<std::string>& args) {
  if (args == std::vector<std::string>{kCompletionArgument}) return CliText{bash_completion(app)};
  if (args == std::vector<std::string>{kManArgument}) return CliText{man_page(app)};
  std::vector<std::string> reversed(args.rbegin(), args.rend());  // as CLI11 wants them
  try {
    app.parse(std::move(reversed));
  } catch (const CLI::CallForHelp&) {
    return CliText{app.help()};
  } catch (const CLI::CallForVersion&) {
    return CliText{app.get_name() + " " + std::string(version()) + " (" + std::string(git_revision()) + ")\n"};
  } catch (const CLI::ExtrasError& e) {
    fail_extras(app, e.what());
  } catch (const CLI::ParseError& e) {
    throw ConfigError(e.what());
  }
  return std::nullopt;
}

std::vector<std::string> fill_in_values(std::span<const char* const> argv) {
  std::vector<std::string> args;
  for (size_t i = 1; i < argv.size(); ++i) {
    const std::string_view next = i + 1 < argv.size() ? argv[i + 1] : "-";
    const bool alone = next.starts_with("-") || next.ends_with(".json");
    const std::string_view arg = argv[i];
    args.emplace_back(arg == "--resume" && alone ? "--resume=auto"
                      : arg == "--profile"       ? "--profile=5"
                      : arg == "--dashboard"     ? "--dashboard=127.0.0.1:8090"
                                                 : arg);
  }
  return args;
}

}  // namespace cli

namespace {

using namespace cli;

/// A whole non-negative number, or nullopt.
std::optional<uint64_t> whole_number(std::string_view text) {
  uint64_t value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc{} || stop != text.data() + text.size()) return std::nullopt;
  return value;
}

struct TrainerParser {
  CLI::App app{"Trains a network as a config file says", "trainer"};
  TrainArgs train;
  DataArgs data;
  VerifyResumeArgs verify;
  KeygenArgs keygen;
  std::optional<PredictParser> predict;
  Recipe recipe, verify_recipe;
  std::string resume, seeds, max_time, profile, dist = "local";
  CLI::App *data_command, *fetch, *synth, *verify_command, *keygen_command;
  std::optional<ReportCommand> report;
  std::optional<InspectCommands> inspect;

  TrainerParser();
  void add_train_options();
  TrainerCommand result();
  TrainArgs train_result();
};

TrainerParser::TrainerParser() {
  app.set_version_flag("--version", std::string(version()));
  add_train_options();
  data_command = app.add_subcommand("data", "Fetch or make data")->require_subcommand(1);
  fetch = data_command->add_subcommand("fetch", "Download CIFAR and check it");
  fetch->add_option("NAME", data.name, "cifar10 or cifar100")
      ->required()
      ->check(CLI::IsMember({"cifar10", "cifar100"}));
  fetch->add_option("--dir", data.dir, "Folder for the data")->type_name("DIR")->capture_default_str();
  fetch->add_option("--url", data.url, "Another place to load the archive from")->type_name("URL");
  synth = data_command->add_subcommand("synth", "Draw synthetic pictures");
  synth->add_option("--dir", data.dir, "Folder for the data")->type_name("DIR")->capture_default_str();
  synth->add_option("--train", data.train, "Training pictures")->type_name("N")->capture_default_str();
  synth->add_option("--test", data.test, "Test pictures")->type_name("N")->capture_default_str();
  synth->add_option("--seed", data.seed, "Which pictures")->type_name("N")->capture_default_str();
  verify_command = app.add_subcommand("verify-resume", "Train straight and with a stop, and compare the bytes");
  add_recipe(*verify_command, verify_recipe, verify.train);
  verify_command->add_option("--epochs", verify_recipe.epochs, "Epochs")->type_name("N");
  verify_command->add_option("--stop-after", verify.stop_after, "Where the second training stops; default: two thirds of the first epoch")
      ->type_name("STEPS")
      ->check(CLI::PositiveNumber);
  verify_command->get_option("CONFIG")->required();
  keygen_command = app.add_subcommand("keygen", "Make a secret token that ps_server and its workers share");
  keygen_command->add_option("FILE", keygen.file, "Where to write it; must not exist")->required();
  report.emplace(app);
  inspect.emplace(app);
  predict.emplace(app);
  app.footer(
      "Examples:\n"
      "  trainer tools/configs/demo.json\n"
      "  trainer tools/configs/cifar-cnn.json --epochs 10 --seed 1 --set optim.weight_decay=0\n"
      "  trainer tools/configs/cifar-cnn.json --epochs 1,5,10     one training each, experiments.csv\n"
      "  trainer --resume runs/cifar-cnn-20250101-120000\n"
      "  trainer data fetch cifar10 --dir data\n"
      "  trainer predict runs/cifar-cnn-20250101-120000 cat.jpg\n"
      "Exit codes: 0 ok, 1 failure, 2 usage or config, 3 data, 4 device, 5 diverged, 6 expectation missed, 7 peer "
      "lost, 130/143 interrupted with a checkpoint saved.");
}

void TrainerParser::add_train_options() {
  add_recipe(app, recipe, train);
  app.add_option("--resume", resume, "Go on with a run; alone or `auto`: the newest that fits")
      ->type_name("[RUN|auto]");
  app.add_option("--init-from", train.init_from, "Start from these weights")->type_name("FILE");
  app.add_option("--epochs", recipe.epochs, "Epochs; A..B or a list: a training for each")->type_name("N|A..B|LIST");
  app.add_option("--seeds", seeds, "A training for each seed")->type_name("A..B");
  app.add_flag("--dry-run", train.dry_run, "One step and one small evaluation, to see that everything fits; writes nothing");
  app.add_option("--overfit-batches", train.overfit_batches, "Train on the first N steps' pictures only")
      ->type_name("N")
      ->check(CLI::Range(1, 1000000));
  app.add_option("--max-time", max_time, "Stop with a checkpoint after 90s, 30m, 2h ...")->type_name("TIME");
  app.add_option("--expect-acc", train.expect_acc, "Exit with 6 where the final accuracy (--seeds: their mean) is below (0..1)")
      ->type_name("A");
  app.add_option("--profile", profile, "Trace STEPS steps (default 5) into RUN/profile/trace.json, for Perfetto, and say where the time went")
      ->type_name("[STEPS]");
  app.add_option("--dist", dist, "local, or with several processes mpi (start with mpirun) or nccl (one a GPU); docs/distributed.md")
      ->type_name("local|mpi|nccl");
  app.add_option("--dashboard", train.dashboard, "Show the run live at an address; alone: 127.0.0.1:8090. Others than loopback ask for a token")
      ->type_name("[=HOST:PORT]");
  app.add_flag("--print-config", train.print_config, "Print the config with every default, and exit");
  app.add_flag("--print-schema", train.print_schema, "Print the JSON Schema of configs, and exit");
}

TrainArgs TrainerParser::train_result() {
  refuse_both(app, "--resume", "--init-from");
  refuse_both(app, "--seed", "--seeds");
  refuse_both(app, "--print-config", "--print-schema");
  refuse_both(app, "--profile", "--dry-run");
  apply_recipe(recipe, train);
  apply_epochs(recipe.epochs, train);
  if (train.expect_acc && !(*train.expect_acc >= 0 && *train.expect_acc <= 1)) {  // NaN too
    throw ConfigError("--expect-acc: wanted an accuracy from 0 to 1");
  }
  if (app.count("--resume") > 0) train.resume = resume;
  if (!seeds.empty()) train.seeds = parse_counts(seeds, "--seeds");
  if (!max_time.empty()) train.max_seconds = parse_duration(max_time, "--max-time");
  if (!profile.empty()) {
    const std::optional<uint64_t> steps = whole_number(profile);
    if (!steps || *steps < 1 || *steps > 1000) throw ConfigError("--profile: got \"" + profile + "\", wanted 1 to 1000 steps");
    train.profile = static_cast<int>(*steps);
  }
  const bool experiment = !train.epochs.empty() || !train.seeds.empty();
  if (!train.epochs.empty() && !train.seeds.empty()) throw ConfigError("--epochs with a list and --seeds: wanted one");
  if (experiment && train.profile) throw ConfigError("--profile: takes one training, not a series of them");
  if (experiment && train.resume && (*train.resume != "auto" || train.out.empty())) throw ConfigError("--resume: a series of trainings goes on with --out DIR --resume auto");
  train.dist = choice<DistEngine, 3>(dist, "--dist", {"local", "mpi", "nccl"});
  if (experiment && train.dist != DistEngine::local) throw ConfigError("--dist " + dist + ": takes one training, not a series of them");
  if (train.dashboard) dist::parse_address(*train.dashboard, "--dashboard");
  if (experiment && train.dashboard) throw ConfigError("--dashboard: shows one training, not a series of them");
  const bool no_config_needed = train.print_schema || train.print_config || (train.resume && *train.resume != "auto");
  if (train.config.empty() && !no_config_needed) throw ConfigError("CONFIG is missing: wanted a JSON file; see --help");
  const std::string near = nearest_name(train.config, names_of(app, false));
  if (!near.empty() && train.config.find_first_of("./") == std::string::npos) {
    throw ConfigError("unknown command \"" + train.config + "\"; did you mean \"" + near + "\"?");
  }
  return train;
}

TrainerCommand TrainerParser::result() {
  if (data_command->parsed()) {
    data.action = fetch->parsed() ? DataArgs::Action::fetch : DataArgs::Action::synth;
    return data;
  }
  if (keygen_command->parsed()) return keygen;
  if (std::optional<TrainerCommand> command = report->result()) return *command;
  if (std::optional<TrainerCommand> command = inspect->result()) return *command;
  if (predict->command->parsed()) return predict->result();
  if (!verify_command->parsed()) return train_result();
  apply_recipe(verify_recipe, verify.train);
  apply_epochs(verify_recipe.epochs, verify.train);
  if (!verify.train.epochs.empty()) throw ConfigError("--epochs: verify-resume takes one number");
  return verify;
}

}  // namespace

TrainerCommand parse_trainer(std::span<const char* const> argv) {
  TrainerParser parser;
  if (std::optional<CliText> text = parse(parser.app, fill_in_values(argv))) return *text;
  return parser.result();
}

EvaluateCommand parse_evaluate(std::span<const char* const> argv) {
  EvaluateArgs args;
  std::string split = "test", tta = "none";
  CLI::App app{"Evaluates checkpoints: run folders, checkpoint folders or .safetensors of weights", "evaluate"};
  app.set_version_flag("--version", std::string(version()));
  app.add_option("CHECKPOINT", args.checkpoints, "What to evaluate")->required();
  app.add_option("--data", args.data, "Folder of the data; default: the run's")->type_name("DIR");
  app.add_option("--split", split, "Which pictures")->type_name("test|train")->capture_default_str();
  app.add_flag("--per-class", args.per_class, "Accuracy of each class");
  app.add_option("--confusion", args.confusion, "Write the confusion matrix")->type_name("FILE.csv");
  app.add_option("--predictions", args.predictions, "Write picture, label, prediction, probability and loss of each")
      ->type_name("FILE.csv");
  app.add_option("--worst", args.worst, "List the N worst mistakes")->type_name("N")->check(CLI::Range(0, 1000000));
  app.add_flag("--compare", args.compare, "McNemar's test between the checkpoints");
  app.add_option("--tta", tta, "Test-time augmentation")->type_name("none|flip|flip_shift")->capture_default_str();
  app.add_flag("--json", args.json, "Results as JSON");
  app.add_option("--model", args.model, "The network of bare weights: preset or config")->type_name("NAME|CONFIG");
  app.add_option("--device", args.device, "Where to evaluate")->type_name(kDeviceType)->capture_default_str();
  app.add_option("--threads", args.threads, "CPU threads; 0: all")->check(CLI::Range(0, 4096))->capture_default_str();
  app.add_option("--batch", args.batch, "Pictures at once")->check(CLI::Range(1, 65536))->capture_default_str();
  app.footer(
      "Examples:\n"
      "  evaluate runs/cifar-cnn-20250101-120000 --per-class\n"
      "  evaluate weights.safetensors --model cifar-cnn --data data\n"
      "  evaluate runs/a runs/b --compare --json");
  std::vector<std::string> arguments(argv.begin() + 1, argv.end());
  if (std::optional<CliText> text = parse(app, arguments)) return *text;
  args.train_split = choice<int, 2>(split, "--split", {"test", "train"}) == 1;
  args.tta = choice<TtaName>(tta, "--tta", config_table::EnumNames<TtaName>::values);
  parse_device(args.device);
  if (args.compare && args.checkpoints.size() < 2) throw ConfigError("--compare: got 1 checkpoint, wanted at least 2");
  return args;
}

std::vector<uint64_t> parse_counts(const std::string& text, const std::string& option) {
  constexpr uint64_t kMost = 10000;
  const std::string wanted = ", wanted N, A..B or a list such as 1,10,20";
  const auto number = [&](std::string_view part) {
    const std::optional<uint64_t> n = whole_number(part);
    if (!n) throw ConfigError(option + ": got \"" + text + "\"" + wanted);
    return *n;
  };
  std::vector<uint64_t> out;
  if (const size_t dots = text.find(".."); dots != std::string::npos) {
    const uint64_t first = number(text.substr(0, dots)), last = number(text.substr(dots + 2));
    if (first > last) throw ConfigError(option + ": got \"" + text + "\", which runs backwards");
    if (last - first >= kMost) throw ConfigError(option + ": got \"" + text + "\", wanted at most 10000 trainings");
    for (uint64_t i = 0; i <= last - first; ++i) out.push_back(first + i);
    return out;
  }
  for (size_t begin = 0; begin <= text.size();) {
    const size_t comma = std::min(text.find(',', begin), text.size());
    out.push_back(number(std::string_view(text).substr(begin, comma - begin)));
    if (out.size() > kMost) throw ConfigError(option + ": wanted at most 10000 trainings");
    begin = comma + 1;
  }
  return out;
}

double parse_duration(const std::string& text, const std::string& option) {
  double seconds = 0;
  const char *at = text.data(), *end = at + text.size();
  bool good = at != end;
  while (good && at != end) {
    double value = 0;
    const auto [stop, error] = std::from_chars(at, end, value);
    const std::string_view units = "smhd";
    constexpr double kSeconds[] = {1, 60, 3600, 86400};
    const size_t unit = stop == end ? 0 : units.find(*stop);
    good = error == std::errc{} && value >= 0 && unit != std::string_view::npos;
    if (good) seconds += value * kSeconds[unit];
    at = stop == end ? end : stop + 1;
  }
  if (!good || !(seconds > 0) || !std::isfinite(seconds)) {
    throw ConfigError(option + ": got \"" + text + "\", wanted a time such as 90s, 30m or 1h30m");
  }
  return seconds;
}

}  // namespace tern
