// ps_worker: computes lanes for a ps_server. The command line is in tools/cli_ps.h.
#include <cstdio>
#include <exception>

#include "tools/exit_codes.h"
#include "tools/interrupt.h"
#include "tools/ps_worker.h"

namespace tern {
namespace {

int run(const CliText& text) {
  std::printf("%s", text.text.c_str());
  return 0;
}

int run(const WorkerArgs& args) {
  const std::unique_ptr<Progress> progress = make_progress(args.progress);
  const InterruptGuard guard;
  return run_worker(args, *progress);
}

}  // namespace
}  // namespace tern

int main(int argc, char** argv) {
  try {
    return std::visit([](const auto& command) { return tern::run(command); }, tern::parse_worker({argv, static_cast<size_t>(argc)}));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "ps_worker: %s\n", error.what());
    return static_cast<int>(tern::exit_code_for(error));
  }
}
