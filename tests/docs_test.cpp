// What the pages under docs/ promise about themselves: their code is compiled code, their links lead somewhere.
#include <filesystem>
#include <regex>

#include "tests/catch.h"
#include "tests/programs.h"

using namespace tern::test;
namespace fs = std::filesystem;

namespace {

const fs::path kRoot = TERN_SOURCE_DIR;

/// The fenced blocks of a page in `language`, with an empty line between.
std::string blocks(const std::string& page, const std::string& language) {
  const std::string open = "```" + language + "\n";
  std::string all;
  for (size_t at = page.find(open); at != std::string::npos; at = page.find(open, at)) {
    at += open.size();
    const size_t end = page.find("```", at);
    all += (all.empty() ? "" : "\n") + page.substr(at, end - at);
    at = end;
  }
  return all;
}

}  // namespace

TEST_CASE("docs/tutorial.md: its C++ is the program that the package's test builds and runs", "[docs]") {
  const std::string page = read_file(kRoot / "docs/tutorial.md"), program = read_file(kRoot / "tests/tutorial/tutorial.cpp");
  const std::vector<std::string> shown = lines_of(blocks(page, "cpp")), compiled = lines_of(program);
  REQUIRE(shown.size() > 100);
  REQUIRE(shown.size() + 1 == compiled.size());  // the first line says where it belongs
  for (size_t i = 0; i < shown.size(); ++i) {
    INFO("line " << i + 2 << " of tests/tutorial/tutorial.cpp");
    REQUIRE(shown[i] == compiled[i + 1]);
  }
  const std::string cmake = read_file(kRoot / "tests/tutorial/CMakeLists.txt");
  CHECK(blocks(page, "cmake") == cmake.substr(cmake.find('\n') + 1));
}

TEST_CASE("docs: relative links lead to files", "[docs]") {
  std::vector<fs::path> pages{kRoot / "README.md"};
  for (const auto& entry : fs::directory_iterator(kRoot / "docs"))
    if (entry.path().extension() == ".md") pages.push_back(entry.path());
  const std::regex link(R"(\]\(([^)#:\s]+)(#[^)]*)?\))");
  int links = 0;
  for (const fs::path& page : pages) {
    const std::string text = read_file(page);
    for (auto found = std::sregex_iterator(text.begin(), text.end(), link); found != std::sregex_iterator(); ++found, ++links) {
      INFO(page.string() << " links to " << (*found)[1].str());
      CHECK(fs::exists(page.parent_path() / (*found)[1].str()));
    }
  }
  CHECK(links > 20);
}

TEST_CASE("docs/recipes.md: every training command is one that trainer takes", "[docs]") {
  const Workbench bench;
  int commands = 0;
  for (const std::string& line : lines_of(read_file(kRoot / "docs/recipes.md"))) {
    if (!line.starts_with("trainer tools/configs/")) continue;
    const std::string command = line.substr(0, line.find("  #")) + " --print-config";
    INFO(command);
    const Outcome outcome = bench.run({"/bin/bash", "-c", "cd \"$1\" && PATH=$0:$PATH && " + command, TERN_BINARY_DIR, kRoot.string()});
    INFO(outcome.err);
    CHECK(outcome.code == 0);
    ++commands;
  }
  CHECK(commands >= 8);
}
