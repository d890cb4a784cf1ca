// evaluate: what trained networks make of a data set. The command line is in tools/cli.h.
#include <cstdio>
#include <exception>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "tools/cli.h"
#include "tools/data_run.h"
#include "tools/exit_codes.h"
#include "tools/json_text.h"
#include "tools/open_checkpoint.h"
#include "tools/progress.h"
#include "tools/run_folder.h"
#include "tools/session.h"

namespace tern {
namespace {

using nlohmann::ordered_json;

Evaluation evaluate_checkpoint(Context& context, const OpenedCheckpoint& checkpoint, const EvaluateArgs& args, const data::DatasetPtr& data, Progress& progress) {
  const auto network = network_of(context, checkpoint, data->shape(), static_cast<int64_t>(data->classes().size()));
  EvaluationOptions options{.normalize = checkpoint.config.data.normalize, .batch = args.batch, 
                            .tta = args.tta};
  options.progress = [&](int64_t done, int64_t total) { progress.task("evaluating " + checkpoint.label, done, total); };
  Evaluation evaluation = evaluate(context, *network, data, options);
  progress.finish();
  return evaluation;
}

void print_summary(const std::string& label, const Evaluation& e) {
  const auto n = static_cast<int64_t>(e.predictions.size());
  const Interval interval = wilson_interval(e.top1, n);
  std::printf("%s\n  pictures %lld  loss %.4f  top-1 %.2f %% (95 %% interval %.2f to %.2f)  top-5 %.2f %%  %.0f images/s\n", label.c_str(),
              static_cast<long long>(n), e.loss, 100 * e.top1, 100 * interval.low, 100 * interval.high, 100 * e.top5,
              static_cast<double>(n) / e.seconds);
}

void print_per_class(const Evaluation& e) {
  std::printf("  %-16s %9s %9s %10s\n", "class", "pictures", "recall", "precision");
  for (const ClassScore& c : class_scores(e))
    std::printf("  %-16s %9lld %8.2f%% %9.2f%%\n", c.name.c_str(), static_cast<long long>(c.pictures), 100 * c.recall(), 100 * c.precision());
}

ordered_json worst_json(const Evaluation& e, const data::Dataset& data, int count) {
  ordered_json list = ordered_json::array();
  for (int64_t i : worst_mistakes(e, count)) {
    const Prediction& p = e.predictions[static_cast<size_t>(i)];
    list.push_back({{"picture", i}, {"where", data.where(i)}, {"label", e.classes[static_cast<size_t>(p.label)]},
                    {"predicted", p.predicted < 0 ? "not a number" : e.classes[static_cast<size_t>(p.predicted)]},
                    {"probability", p.probability}, {"loss", p.loss}});
  }
  return list;
}

void print_worst(const Evaluation& e, const data::Dataset& data, int count) {
  std::printf("  worst mistakes\n");
  for (const auto& m : worst_json(e, data, count))
    std::printf("  %7lld  %-14s taken for %-14s (%5.1f %%)  loss %.3f  %s\n", m["picture"].get<long long>(), m["label"].get<std::string>().c_str(),
                m["predicted"].get<std::string>().c_str(), 100 * m["probability"].get<double>(), m["loss"].get<double>(), m["where"].get<std::string>().c_str());
}

/// Every pair of checkpoints by McNemar's test.
ordered_json compare(const std::vector<OpenedCheckpoint>& checkpoints, const std::vector<Evaluation>& evaluations, bool print) {
  ordered_json pairs = ordered_json::array();
  for (size_t a = 0; a < evaluations.size(); ++a)
    for (size_t b = a + 1; b < evaluations.size(); ++b) {
      const McNemar test = mcnemar(evaluations[a], evaluations[b]);
      pairs.push_back({{"first", checkpoints[a].label}, {"second", checkpoints[b].label}, {"only_first_right", test.only_first},
                       {"only_second_right", test.only_second}, {"p_value", test.p_value}});
      if (!print) continue;
      std::printf("%s against %s\n  right alone: %lld and %lld pictures; McNemar's p = %.3g: %s\n", checkpoints[a].label.c_str(),
                  checkpoints[b].label.c_str(), static_cast<long long>(test.only_first), static_cast<long long>(test.only_second), test.p_value,
                  test.p_value < 0.05 ? "they differ" : "no difference shown");
    }
  return pairs;
}

int run(const EvaluateArgs& args) {
  if (args.compare && args.checkpoints.size() < 2) throw ConfigError("--compare wants two checkpoints or more");
  if (!args.confusion.empty() && args.checkpoints.size() != 1) throw ConfigError("--confusion wants one checkpoint");
  if (!args.predictions.empty() && args.checkpoints.size() != 1) throw ConfigError("--predictions wants one checkpoint");
  std::vector<OpenedCheckpoint> checkpoints;
  for (const std::string& argument : args.checkpoints) checkpoints.push_back(open_checkpoint(argument, args.model));
  Context::Options options;
  options.device = choose_device({.device = args.device});
  options.threads = args.threads;
  Context context(options);
  const std::unique_ptr<Progress> progress = make_progress(args.json ? ProgressStyle::none : ProgressStyle::automatic);

  std::vector<Evaluation> evaluations;
  ordered_json results = ordered_json::array();
  const std::string split = args.train_split ? "train" : "test";
  const data::Split which = args.train_split ? data::Split::kTrain : data::Split::kTest;
  for (const OpenedCheckpoint& checkpoint : checkpoints) {
    DataConfig source = checkpoint.config.data;
    if (!args.data.empty()) source.dir = args.data;
    const data::DatasetPtr data = data::open_split(source, checkpoint.config.run.seed, which, checkpoint.classes, progress.get());
    evaluations.push_back(evaluate_checkpoint(context, checkpoint, args, data, *progress));
    const Evaluation& e = evaluations.back();
    if (!args.confusion.empty()) write_confusion_csv(args.confusion, e);
    if (!args.predictions.empty()) write_predictions_csv(args.predictions, e);
    if (args.json) {
      ordered_json result = {{"checkpoint", checkpoint.label}};
      result.update(ordered_json::parse(evaluation_json(e, split)));
      if (args.worst > 0) result["worst"] = worst_json(e, *data, args.worst);
      results.push_back(std::move(result));
      continue;
    }
    print_summary(checkpoint.label, e);
    if (args.per_class) print_per_class(e);
    if (args.worst > 0) print_worst(e, *data, args.worst);
  }
  ordered_json pairs;
  if (args.compare) pairs = compare(checkpoints, evaluations, !args.json);
  if (args.json) {
    ordered_json object = {{"checkpoints", results}};
    if (args.compare) object["compare"] = pairs;
    std::printf("%s\n", json_text(object, 2).c_str());
  }
  return 0;
}

int run(const CliText& text) {
  std::printf("%s", text.text.c_str());
  return 0;
}

}  // namespace
}  // namespace tern

int main(int argc, char** argv) {
  try {
    return std::visit([](const auto& command) { return tern::run(command); },
                      tern::parse_evaluate(std::span<const char* const>(argv, static_cast<size_t>(argc))));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "evaluate: %s\n", error.what());
    return static_cast<int>(tern::exit_code_for(error));
  }
}
