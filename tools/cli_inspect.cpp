#include "tools/cli_inspect.h"

#include <cmath>

#include "tools/cli_ps.h"

namespace tern::cli {

InspectCommands::InspectCommands(CLI::App& trainer) {
  add_summary(trainer);
  add_export(trainer);
  add_lr_find(trainer);
  add_doctor(trainer);
  add_descriptions(trainer);
}

void InspectCommands::add_summary(CLI::App& trainer) {
  summary_command_ = trainer.add_subcommand("summary", "Layers, parameters, operations, memory and time of a training");
  add_config(*summary_command_, summary_recipe_, summary_.train);
  summary_command_->get_option("CONFIG")->required()->description("Config file (JSON), or a run folder");
  summary_command_->add_flag("--no-probe", no_probe_, "Do not time three steps");
  summary_command_->add_flag("--json", summary_.json, "As JSON");
  summary_command_->footer(
      "Examples:\n"
      "  trainer summary tools/configs/cifar-cnn.json\n"
      "  trainer summary tools/configs/resnet18.json --no-probe --set train.micro_batch=64 --json");
}

void InspectCommands::add_export(CLI::App& trainer) {
  export_command_ = trainer.add_subcommand("export", "Write a trained network for other programs: ONNX");
  export_command_->add_option("CHECKPOINT", export_.checkpoint, "Run folder, checkpoint folder or .safetensors of weights")->required();
  export_command_->add_option("--onnx", export_.onnx, "Where to write the ONNX model")->required()->type_name("FILE");
  export_command_->add_option("--model", export_.model, "The network of bare weights: preset or config")->type_name("NAME|CONFIG");
  export_command_->footer(
      "Examples:\n"
      "  trainer export runs/cifar-cnn-20250101-120000 --onnx cifar-cnn.onnx\n"
      "  trainer export weights.safetensors --model lenet --onnx lenet.onnx");
}

void InspectCommands::add_lr_find(CLI::App& trainer) {
  lr_find_command_ = trainer.add_subcommand("lr-find", "Learning-rate range test: the loss while the rate grows");
  add_config(*lr_find_command_, lr_find_recipe_, lr_find_.train);
  lr_find_command_->get_option("CONFIG")->required();
  lr_find_command_->add_option("--min-lr", lr_find_.min_lr, "Where the rate starts")->type_name("LR")->capture_default_str();
  lr_find_command_->add_option("--max-lr", lr_find_.max_lr, "Where it ends, unless the loss explodes before")->type_name("LR")->capture_default_str();
  lr_find_command_->add_option("--steps", lr_find_.steps, "Steps")->type_name("N")->check(CLI::Range(10, 1000000))->capture_default_str();
  lr_find_command_->add_option("--out", lr_find_.out, "Draw the curve; a CSV goes beside it")->type_name("FILE.svg");
  lr_find_command_->add_option("--progress", lr_find_recipe_.progress, "How progress is shown on stderr")->type_name(kProgressType);
  lr_find_command_->footer(
      "Examples:\n"
      "  trainer lr-find tools/configs/cifar-cnn.json\n"
      "  trainer lr-find tools/configs/lenet.json --min-lr 1e-5 --max-lr 1 --steps 200 --out lenet.svg");
}

void InspectCommands::add_doctor(CLI::App& trainer) {
  doctor_command_ = trainer.add_subcommand("doctor", "Check this machine, build and data, and say what to do about them");
  doctor_command_->add_option("CONFIG", doctor_.config, "Config file (JSON) whose data are looked for; default: CIFAR-10 in data");
  doctor_command_->add_option("--data", doctor_.data, "Another folder of the data")->type_name("DIR");
  doctor_command_->add_flag("--json", doctor_.json, "As JSON");
  doctor_command_->footer(
      "Examples:\n"
      "  trainer doctor\n"
      "  trainer doctor tools/configs/cifar-cnn.json --data /data --json\n"
      "Exit codes: 0 nothing failed, 1 something did.");
}

void InspectCommands::add_descriptions(CLI::App& trainer) {
  completion_command_ = trainer.add_subcommand("completion", "Print a script that completes the programs' command lines");
  completion_command_->add_option("SHELL", shell_, "Which shell's")->required()->check(CLI::IsMember({"bash"}));
  completion_command_->footer("Examples:\n  source <(trainer completion bash)");
  man_command_ = trainer.add_subcommand("man", "Print a program's manual page");
  man_command_->add_option("PROGRAM", program_, "Which program's; default: trainer")
      ->check(CLI::IsMember({"trainer", "evaluate", "ps_server", "ps_worker"}));
  man_command_->footer("Examples:\n  trainer man | man -l -\n  trainer man evaluate > evaluate.1");
}

namespace {

/// What a program's parser says to one of the arguments that describe it.
std::string described(const std::string& program, const char* argument) {
  const char* const argv[] = {program.c_str(), argument};
  const auto text = [](const auto& command) { return std::get<CliText>(command).text; };
  if (program == "evaluate") return text(parse_evaluate(argv));
  if (program == "ps_server") return text(parse_server(argv));
  if (program == "ps_worker") return text(parse_worker(argv));
  return text(parse_trainer(argv));
}

}  // namespace

std::optional<TrainerCommand> InspectCommands::result() {
  if (man_command_->parsed()) return CliText{described(program_, kManArgument)};
  if (completion_command_->parsed()) {
    std::string text;
    for (const char* program : {"trainer", "evaluate", "ps_server", "ps_worker"}) text += described(program, kCompletionArgument);
    return CliText{text};
  }
  if (summary_command_->parsed()) {
    apply_recipe(summary_recipe_, summary_.train);
    summary_.probe = !no_probe_;
    return InspectCommand(summary_);
  }
  if (export_command_->parsed()) return InspectCommand(export_);
  if (doctor_command_->parsed()) return InspectCommand(doctor_);
  if (!lr_find_command_->parsed()) return std::nullopt;
  apply_recipe(lr_find_recipe_, lr_find_.train);
  const auto good = [](double rate) { return std::isfinite(rate) && rate > 0; };
  if (!good(lr_find_.min_lr)) throw ConfigError("--min-lr: wanted a number above 0");
  if (!good(lr_find_.max_lr) || lr_find_.max_lr <= lr_find_.min_lr) throw ConfigError("--max-lr: wanted a number above --min-lr");
  if (!lr_find_.out.empty() && !lr_find_.out.ends_with(".svg")) throw ConfigError("--out: got \"" + lr_find_.out + "\", wanted FILE.svg");
  return InspectCommand(lr_find_);
}

}  // namespace tern::cli
