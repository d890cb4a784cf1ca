#include "tools/tensorboard.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>

#include "core/atomic_file.h"
#include "core/crc32c.h"
#include "core/error.h"
#include "tools/format.h"
#include "tools/protobuf_writer.h"

namespace tern {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "events.out.tfevents.";
constexpr std::string_view kMistakes = ".mistakes";

// Fields of the messages.
namespace event {
constexpr int wall_time = 1, step = 2, file_version = 3, summary = 5, session_log = 7;
}
namespace summary {
constexpr int value = 1;
}
namespace value {
constexpr int tag = 1, simple_value = 2, image = 4, tensor = 8, metadata = 9;
}

uint32_t masked_crc(std::string_view bytes) {
  const uint32_t crc = crc32c(std::as_bytes(std::span(bytes)));
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8u;  // a CRC of bytes that hold their CRC would be weak
}

template <class T>
void put(std::string& out, T number) {
  for (size_t i = 0; i < sizeof number; ++i) out += static_cast<char>(number >> (8 * i));  // little-endian
}

template <class T>
T get(std::string_view bytes) {
  T number = 0;
  for (size_t i = 0; i < sizeof number; ++i) number |= static_cast<T>(static_cast<uint8_t>(bytes[i])) << (8 * i);
  return number;
}

double wall_time() { return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count(); }

std::string event_bytes(int64_t step, int field, std::string_view message) {
  ProtobufWriter event;
  event.number(event::wall_time, wall_time());
  event.integer(event::step, step);
  event.bytes(field, message);
  return event.data();
}

/// The step of an event as event_bytes writes it; 0 for others.
int64_t step_of(std::string_view event) {
  constexpr size_t kStep = 9;  // behind the wall time: a key and eight bytes
  if (event.size() <= kStep + 1 || event[0] != 0x09 || event[kStep] != 0x10) return 0;
  uint64_t step = 0;
  for (size_t i = kStep + 1, shift = 0; i < event.size() && shift < 64; ++i, shift += 7) {
    step |= uint64_t{static_cast<uint8_t>(event[i]) & 0x7fu} << shift;
    if (!(event[i] & 0x80)) break;
  }
  return static_cast<int64_t>(step);
}

/// The first record of `bytes` and all around it; nullopt where none is whole.
std::optional<std::pair<std::string_view, std::string_view>> first_record(std::string_view bytes) {
  constexpr size_t kFrame = 16;
  if (bytes.size() < kFrame) return std::nullopt;
  const auto length = get<uint64_t>(bytes);
  if (get<uint32_t>(bytes.substr(8)) != masked_crc(bytes.substr(0, 8)) || length > bytes.size() - kFrame) return std::nullopt;
  const std::string_view content = bytes.substr(12, length);
  if (get<uint32_t>(bytes.substr(12 + length)) != masked_crc(content)) return std::nullopt;
  return std::pair(content, bytes.substr(0, kFrame + length));
}

std::vector<fs::path> event_files(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored))
    if (entry.path().filename().string().starts_with(kPrefix)) files.push_back(entry.path());
  return files;
}

/// A name behind those of the folder's files, in whose order readers take them: seconds and microseconds, later than the latest
/// also where the clock was put back.
std::string new_name(const fs::path& folder) {
  int64_t micros = std::llround(1e6 * wall_time());
  for (const fs::path& file : event_files(folder)) {
    long long seconds = 0, rest = 0;
    if (std::sscanf(file.filename().c_str() + kPrefix.size(), "%lld.tern.%lld", &seconds, &rest) == 2)
      micros = std::max<int64_t>(micros, seconds * 1000000 + rest + 1);
  }
  return format("%s%010lld.tern.%06lld", kPrefix.data(), static_cast<long long>(micros / 1000000), static_cast<long long>(micros % 1000000));
}

}  // namespace

std::string tf_record(std::string_view bytes) {
  std::string record;
  put(record, uint64_t{bytes.size()});
  put(record, masked_crc(record));
  record += bytes;
  put(record, masked_crc(bytes));
  return record;
}

void EventWriter::add(int64_t step, int field, std::string_view message) {
  std::string bytes = tf_record(event_bytes(step, field, message));
  try {
    if (!out_.is_open()) {
      fs::create_directories(folder_);
      out_ = AppendFile(folder_ / (new_name(folder_) + kind_));
    }
    if (out_.size() == 0) bytes.insert(0, tf_record(event_bytes(0, event::file_version, "brain.Event:2")));
    good_ = out_.append(bytes);
  } catch (const std::exception&) {  // no room for a name either
    good_ = false;
  }
}

void EventWriter::restarted(int64_t step) {
  constexpr int kStatus = 1, kStart = 1;
  ProtobufWriter log;
  log.integer(kStatus, kStart);
  add(step, event::session_log, log.data());
}

void EventWriter::scalars(int64_t step, const std::vector<std::pair<std::string_view, double>>& values) {
  ProtobufWriter all;
  for (const auto& [tag, number] : values) {
    ProtobufWriter one;
    one.bytes(value::tag, tag);
    one.number(value::simple_value, static_cast<float>(number));
    all.message(summary::value, one);
  }
  add(step, event::summary, all.data());
}

void EventWriter::image(int64_t step, std::string_view tag, const Picture& picture) {
  ProtobufWriter image, one, all;
  image.integer(1, picture.height);
  image.integer(2, picture.width);
  image.integer(3, picture.channels);
  image.bytes(4, encode_png(picture));
  one.bytes(value::tag, tag);
  one.message(value::image, image);
  all.message(summary::value, one);
  add(step, event::summary, all.data());
}

void EventWriter::text(int64_t step, std::string_view tag, std::string_view markdown) {
  constexpr int kString = 7;  // DT_STRING
  ProtobufWriter shape, extent, tensor, plugin, metadata, one, all;
  extent.integer(1, 1);
  shape.message(2, extent);
  tensor.integer(1, kString);
  tensor.message(2, shape);
  tensor.bytes(8, markdown);
  plugin.bytes(1, "text");
  metadata.message(1, plugin);
  one.bytes(value::tag, tag);
  one.message(value::tensor, tensor);
  one.message(value::metadata, metadata);
  all.message(summary::value, one);
  add(step, event::summary, all.data());
}

bool holds_events(const fs::path& folder) { return !event_files(folder).empty(); }

void rewind_events(const fs::path& folder, int64_t step) {
  for (const fs::path& file : event_files(folder)) {
    // The pictures of mistakes go, whatever their step, but not their file: a TensorBoard that reads it would wait for it forever.
    const int64_t last = file.string().ends_with(kMistakes) ? 0 : step;
    std::ifstream in(file, std::ios::binary);
    const std::string bytes(std::istreambuf_iterator<char>(in), {});
    std::string kept;
    std::string_view rest = bytes;
    while (const auto record = first_record(rest)) {
      if (step_of(record->first) <= last) kept += record->second;
      rest.remove_prefix(record->second.size());
    }
    if (kept.size() == bytes.size()) continue;
    if (bytes.starts_with(kept))
      fs::resize_file(file, kept.size());  // needs no room on a full disk
    else
      write_file_atomically(file, kept);
  }
}

}  // namespace tern
