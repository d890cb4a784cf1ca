#include "tools/report.h"

#include <array>
#include <cstdio>

#include "core/atomic_file.h"
#include "core/error.h"
#include "core/version.h"
#include "tools/environment.h"
#include "tools/json_text.h"
#include "tools/report_assets.h"
#include "tools/report_compare.h"
#include "tools/report_run.h"
#include "tools/run_folder.h"

namespace tern {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

/// JSON that may stand in a script element: `<`, `>` and `&` only as \u00XX, so that neither a tag nor a comment begins in it.
std::string script_json(const ordered_json& data) {
  std::string out;
  for (const char c : json_text(data)) {
    if (c == '<') {
      out += "\\u003c";
    } else if (c == '>') {
      out += "\\u003e";
    } else if (c == '&') {
      out += "\\u0026";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

std::string report_page(const ordered_json& data) {
  ordered_json whole = data;
  whole["tern"] = version();
  whole["made"] = utc_stamp();
  const std::string json = script_json(whole);
  const std::array<std::pair<std::string_view, std::string_view>, 4> parts{
      {{"@CSS@", report_assets::css}, {"@CHART@", report_assets::chart}, {"@DATA@", json}, {"@JS@", report_assets::js}}};
  std::string page;
  std::string_view rest = report_assets::html;
  for (const auto& [mark, text] : parts) {  // in the template's order; what is put in is not looked at again
    const size_t at = rest.find(mark);
    page += rest.substr(0, at);
    page += text;
    rest.remove_prefix(at + mark.size());
  }
  return page + std::string(rest);
}

void write_report(const fs::path& folder, data::DatasetPtr test) {
  ordered_json run = run_json(folder);
  run["mistakes"] = run_mistakes_json(folder, std::move(test));
  write_file_atomically(folder / "report.html", report_page({{"kind", "run"}, {"run", std::move(run)}}), {.durable = false});
}

int run_report(const ReportArgs& args) {
  const bool one = args.runs.size() == 1 && RunFolder::holds_run(args.runs[0]);
  if (!one) return compare_runs(args);
  const fs::path folder = args.runs[0];
  const fs::path out = args.out.empty() ? folder / "report.html" : fs::path(args.out);
  ordered_json run = run_json(folder);
  run["mistakes"] = run_mistakes_json(folder, nullptr);
  if (run["mistakes"].is_string()) std::fprintf(stderr, "trainer: the report has no pictures: %s\n", run["mistakes"].get<std::string>().c_str());
  write_file_atomically(out, report_page({{"kind", "run"}, {"run", std::move(run)}}), {.durable = false});
  std::printf("%s\n", out.c_str());
  return 0;
}

}  // namespace tern
