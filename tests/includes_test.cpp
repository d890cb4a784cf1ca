// Reads every include of the tree and fails on one that the folder rules of docs/architecture.md forbid.
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "tests/catch.h"

namespace {
namespace fs = std::filesystem;

const std::set<std::string> kFolders{"core", "kernels", "nn", "optim", "dist", "tools", "tests", "bench"};

/// Folder -> the folders that its files may include. Those that are not listed (tools, tests, bench) may include all.
const std::map<std::string, std::set<std::string>> kAllowed{
    {"core", {"core"}},
    {"kernels", {"core", "kernels"}},
    {"nn", {"core", "kernels", "nn"}},
    {"optim", {"core", "kernels", "optim"}},
    {"dist", {"core", "dist"}},
};

/// A library whose headers only some files may include. Tests and benchmarks may include any.
struct LibraryRule {
  std::string library;
  std::regex header;
  std::regex permitted_file;
};

const std::vector<LibraryRule>& library_rules() {
  static const std::vector<LibraryRule> rules{
      {"Eigen", std::regex("(unsupported/)?Eigen/.*"), std::regex("kernels/.*\\.cpp")},
      {"cuDNN", std::regex("cudnn.*"), std::regex(".*_cudnn\\.cpp")},
      {"JSON", std::regex("nlohmann/.*"), std::regex("tools/.*|nn/safetensors.*")},
      {"sockets", std::regex("(sys/socket|sys/un|netinet/.*|arpa/inet|netdb|sys/epoll|poll)\\.h"),
       std::regex("dist/.*|tools/dashboard.*")},
      // Nor in those headers of dist that others include: transport_*.h are its own, transport.h is everybody's.
      {"Asio and TLS", std::regex("asio\\.hpp|asio/.*|openssl/(ssl|bio|tls1)\\.h"),
       std::regex("dist/.*\\.cpp|dist/transport_.*\\.h")},
      {"the transport's inside", std::regex("dist/transport_.*\\.h"), std::regex("dist/.*")},
      {"Highway", std::regex("hwy/.*"), std::regex("(core|kernels)/.*")},
      {"the programs' libraries", std::regex("(CLI|spdlog|fmt|curl)/.*|archive.*|jpeglib\\.h|jerror\\.h|png\\.h"), std::regex("tools/.*")},
  };
  return rules;
}

std::string top_folder(const std::string& path) { return path.substr(0, path.find('/')); }

/// What is wrong with `file` including `header`, if anything. Paths are relative to the root of the tree.
std::optional<std::string> violation(const std::string& file, const std::string& header) {
  const std::string from = top_folder(file);
  if (from == "tests" || from == "bench") return std::nullopt;
  const std::string to = top_folder(header);
  const auto allowed = kAllowed.find(from);
  if (kFolders.contains(to) && allowed != kAllowed.end() && !allowed->second.contains(to))
    return from + " may not include " + to;
  if (from == "tools" && (to == "tests" || to == "bench")) return from + " may not include " + to;
  for (const LibraryRule& rule : library_rules())
    if (std::regex_match(header, rule.header) && !std::regex_match(file, rule.permitted_file))
      return rule.library + " may not be included here";
  return std::nullopt;
}

struct Include {
  std::string header;
  bool quoted;
};

std::vector<Include> includes_of(const fs::path& file) {
  static const std::regex pattern("^\\s*#\\s*include\\s*([<\"])([^>\"]+)[>\"].*");
  std::vector<Include> found;
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);)
    if (std::smatch match; line.find("include") != std::string::npos && std::regex_match(line, match, pattern))
      found.push_back({match[2], match[1] == "\""});
  return found;
}

}  // namespace

TEST_CASE("includes: the rules refuse what they should", "[includes]") {
  CHECK(violation("core/tensor.cpp", "kernels/add/add.h"));
  CHECK(violation("nn/linear.h", "optim/adamw.h"));
  CHECK(violation("dist/server.cpp", "nn/module.h"));
  CHECK(violation("kernels/add/add.cpp", "tools/config.h"));
  CHECK(violation("kernels/add/add.h", "Eigen/Core"));
  CHECK(violation("kernels/conv2d/conv2d.cpp", "cudnn.h"));
  CHECK(violation("core/plan.cpp", "nlohmann/json.hpp"));
  CHECK(violation("tools/trainer_main.cpp", "sys/socket.h"));
  CHECK(violation("tools/ps_server_main.cpp", "asio/ip/tcp.hpp"));
  CHECK(violation("tools/data_fetch.cpp", "openssl/ssl.h"));
  CHECK(violation("dist/transport.h", "asio/ip/tcp.hpp"));
  CHECK(violation("dist/worker.h", "openssl/ssl.h"));
  CHECK(violation("tools/trainer_main.cpp", "tests/catch.h"));
  CHECK(violation("nn/module.cpp", "spdlog/spdlog.h"));

  CHECK_FALSE(violation("core/tensor.cpp", "core/tensor.h"));
  CHECK_FALSE(violation("core/tensor.cpp", "vector"));
  CHECK_FALSE(violation("kernels/matmul/matmul.cpp", "Eigen/Core"));
  CHECK_FALSE(violation("kernels/conv2d/conv2d_cudnn.cpp", "cudnn.h"));
  CHECK_FALSE(violation("nn/safetensors.cpp", "nlohmann/json.hpp"));
  CHECK_FALSE(violation("dist/server.cpp", "sys/socket.h"));
  CHECK_FALSE(violation("dist/transport_dialer.cpp", "asio/ip/tcp.hpp"));
  CHECK_FALSE(violation("dist/transport_tls.h", "openssl/ssl.h"));
  CHECK_FALSE(violation("tools/data_digest.cpp", "openssl/evp.h"));
  CHECK_FALSE(violation("tools/trainer_main.cpp", "nn/module.h"));
}

TEST_CASE("includes: the tree keeps the folder rules, and writes its own headers from the root", "[includes]") {
  const fs::path root = TERN_SOURCE_DIR;
  const std::set<std::string> extensions{".h", ".cpp", ".cu", ".cuh"};
  int files = 0;
  for (const std::string& folder : kFolders) {
    if (!fs::exists(root / folder)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      if (!extensions.contains(entry.path().extension().string())) continue;
      ++files;
      const std::string file = fs::relative(entry.path(), root).generic_string();
      if (file.starts_with("tests/package/")) continue;  // a consumer of the installed package
      for (const Include& include : includes_of(entry.path())) {
        INFO(file << " includes " << include.header);
        CHECK(violation(file, include.header).value_or("allowed") == "allowed");
        if (include.quoted) CHECK(fs::exists(root / include.header));
      }
    }
  }
  CHECK(files > 20);
}
