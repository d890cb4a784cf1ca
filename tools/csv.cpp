#include "tools/csv.h"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>

namespace tern {

std::optional<size_t> CsvTable::find(std::string_view column) const {
  const auto at = std::ranges::find(columns, column);
  if (at == columns.end()) return std::nullopt;
  return static_cast<size_t>(at - columns.begin());
}

const std::string& CsvTable::text(size_t row, std::string_view column) const {
  static const std::string none;
  const std::optional<size_t> at = find(column);
  return at ? rows[row][*at] : none;
}

std::optional<double> CsvTable::number(size_t row, std::string_view column) const {
  const std::string& cell = text(row, column);
  double value = 0;
  const auto [stop, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (cell.empty() || error != std::errc{} || stop != cell.data() + cell.size()) return std::nullopt;
  return value;
}

CsvTable parse_csv(std::string_view text) {
  CsvTable table;
  std::vector<std::string> row{""};
  bool quoted = false;
  const auto end_row = [&] {
    if (table.columns.empty()) {
      table.columns = row;
    } else if (row.size() == table.columns.size()) {
      table.rows.push_back(row);
    }
    row.assign(1, "");
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quoted) {
      if (c != '"') {
        row.back() += c;
      } else if (i + 1 < text.size() && text[i + 1] == '"') {
        row.back() += text[++i];
      } else {
        quoted = false;
      }
    } else if (c == '"') {
      quoted = true;
    } else if (c == ',') {
      row.emplace_back();
    } else if (c == '\n') {
      end_row();
    } else if (c != '\r') {
      row.back() += c;
    }
  }
  return table;  // what has no line end was cut off
}

CsvTable read_csv(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(in), {});
  return parse_csv(text);
}

std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
  return quoted + "\"";
}

}  // namespace tern
