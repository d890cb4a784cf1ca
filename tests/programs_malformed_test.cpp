// Malformed configs, arguments, data files and weights through the programs: each has its exit code and its own
// message, and leaves nothing behind.
#include "tests/catch.h"
#include "tests/malformed.h"

namespace tern::test {
namespace {

// Kept by hand beside the tables, so that a table that came out empty is seen.
constexpr size_t kFewest = 100;

}  // namespace

TEST_CASE("programs: malformed inputs each have their exit code and their own message", "[programs]") {
  const Workbench bench;
  REQUIRE(bench.train({"--out", "run", "--epochs", "1", "--progress", "none"}).code == 0);
  std::set<std::string> messages;
  size_t count = 0;
  for (const auto& cases : {malformed_configs(), malformed_layers(), malformed_arguments(), malformed_data(),
                            malformed_weights(), malformed_checkpoints(bench / "run/checkpoints/last.safetensors")}) {
    CHECK(cases.size() >= 30);
    check_cases(bench, cases, messages);
    count += cases.size();
  }
  CHECK(count >= kFewest);
  CHECK(messages.size() == count);
}

}  // namespace tern::test
