#pragma once
#include <string_view>

/// Files of the report's page, embedded when tern was built (tools/cmake/write_assets.cmake).
namespace tern::report_assets {

extern const std::string_view html;   ///< tools/report/report.html
extern const std::string_view css;    ///< tools/report/report.css
extern const std::string_view js;     ///< tools/report/report.js
extern const std::string_view chart;  ///< Chart.js, minified; empty where it was not found: the page then draws by itself

}  // namespace tern::report_assets
