#include "tools/cli_parts.h"
#include "tools/config_table.h"

namespace tern::cli {

PredictParser::PredictParser(CLI::App& app) : command(app.add_subcommand("predict", "Say what is on pictures")) {
  command->add_option("CHECKPOINT", args.checkpoint, "Run folder, checkpoint folder or .safetensors of weights")->required();
  command->add_option("IMAGE", args.images, "JPEG or PNG files, or directories of them")->required();
  command->add_option("--top", args.top, "Classes to show for each picture")->type_name("K")->check(CLI::Range(1, 1000))->capture_default_str();
  command->add_flag("--json", args.json, "Results as JSON");
  command->add_option("--tta", tta, "Test-time augmentation")->type_name("none|flip|flip_shift")->capture_default_str();
  command->add_option("--model", args.model, "The network of bare weights: preset or config")->type_name("NAME|CONFIG");
  command->add_option("--device", args.device, "auto, cpu, cuda or cuda:i")->capture_default_str();
  command->add_option("--threads", args.threads, "CPU threads; 0: all")->check(CLI::Range(0, 4096))->capture_default_str();
}

PredictArgs PredictParser::result() {
  args.tta = choice<TtaName>(tta, "--tta", config_table::EnumNames<TtaName>::values);
  parse_device(args.device);
  return args;
}

}  // namespace tern::cli
