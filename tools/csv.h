#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tern {

/// A CSV table whose first row names the columns.
struct CsvTable {
  std::vector<std::string> columns;
  std::vector<std::vector<std::string>> rows;  ///< each as long as `columns`

  /// The place of the column, or nullopt.
  std::optional<size_t> find(std::string_view column) const;
  /// The cell as text; "" where the table has no such column.
  const std::string& text(size_t row, std::string_view column) const;
  /// The cell as a number; nullopt where it is empty or none.
  std::optional<double> number(size_t row, std::string_view column) const;
};

/// Rows of another length than the header's are left out: a kill cuts the last one off. Quoted fields may hold commas, quotes
/// (twice) and line ends. Ref: RFC 4180.
CsvTable parse_csv(std::string_view text);
/// An empty table where the file is not there.
CsvTable read_csv(const std::filesystem::path& path);

/// A field as it stands in a CSV file: quoted where it needs to be.
std::string csv_field(const std::string& text);

}  // namespace tern
