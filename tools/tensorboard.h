#pragma once
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tools/append_file.h"
#include "tools/png.h"

namespace tern {

/// TensorBoard event files: TFRecords of `Event` messages, in files that begin with the version and hold what was added since the
/// training was started or resumed. A file appears with the first event. Nothing throws: a full disk must not cost a training. An
/// event that finds no room is left out as a whole, since readers stop at a record that is cut off.
/// Ref: tensorboard/compat/proto/event.proto, summary.proto; tensorflow.org/tutorials/load_data/tfrecord (format).
class EventWriter {
 public:
  /// `kind` ends the file's name: ".mistakes", or nothing.
  explicit EventWriter(std::filesystem::path folder, std::string kind = "") : folder_(std::move(folder)), kind_(std::move(kind)) {}

  void scalars(int64_t step, const std::vector<std::pair<std::string_view, double>>& values);
  void image(int64_t step, std::string_view tag, const Picture& picture);
  /// Markdown, for TensorBoard's tab of texts.
  void text(int64_t step, std::string_view tag, std::string_view markdown);
  /// Tells readers that `step` and those behind it are trained again, so that they forget what they read of them.
  void restarted(int64_t step);
  /// Is what was added last with the system? True also when nothing was.
  bool good() const { return good_; }

 private:
  void add(int64_t step, int field, std::string_view message);

  std::filesystem::path folder_;
  std::string kind_;
  AppendFile out_;
  bool good_ = true;
};

/// Goes back to a checkpoint: removes events of steps after `step`, which are trained again, records that a kill cut off, and the
/// pictures of mistakes, which the new end will have. Throws Error when a file cannot be rewritten.
void rewind_events(const std::filesystem::path& folder, int64_t step);

/// Does the folder hold event files?
bool holds_events(const std::filesystem::path& folder);

/// One record: length, its masked CRC-32C, the bytes, their masked CRC-32C.
std::string tf_record(std::string_view bytes);

}  // namespace tern
