#pragma once
#include <cstdint>
#include <string_view>
#include <vector>

#include "tools/augment.h"
#include "tools/data_set.h"

namespace tern::data {

/// Throws ConfigError naming an option that is out of range.
void require_in_range(bool ok, std::string_view key, int64_t got, std::string_view wanted);

/// Steps of an epoch, `batch` pictures each; a smaller last one counts unless it is left out.
constexpr int64_t steps_of(int64_t pictures, int64_t batch, bool drop_last) { return drop_last ? pictures / batch : (pictures + batch - 1) / batch; }

/// What decides which pictures a step holds, and how they are changed.
struct StepOptions {
  int micro_batch = 32;  ///< pictures a lane
  int lanes = 4;         ///< lanes a step
  uint64_t seed = 42;
  bool shuffle = true;     ///< a fresh keyed permutation every epoch; otherwise the data set's own order
  bool drop_last = false;  ///< leave out the last, smaller batch of an epoch
  bool pixels = true;      ///< false: batches name their pictures only, images and labels stay empty
  std::vector<Augment> augment = {};
};

/// The pictures of one step, or of some of its lanes: lane l holds rows l*micro_batch .. l*micro_batch + lane_size(l) - 1.
struct Batch {
  int64_t epoch = 0;
  int64_t step = 0;  ///< in the epoch
  int micro_batch = 0;
  int64_t first_row = 0;      ///< of the step, where these rows begin
  int64_t step_pictures = 0;  ///< of the whole step
  std::vector<uint8_t> images;   ///< [N,H,W,C]
  std::vector<int64_t> labels;   ///< [N]
  std::vector<int64_t> indices;  ///< [N]: which pictures of the data set these are

  int64_t size() const { return static_cast<int64_t>(indices.size()); }
  /// Lanes that hold a picture: fewer than asked for in a ragged last step.
  int lanes() const { return static_cast<int>((size() + micro_batch - 1) / micro_batch); }
  int lane_size(int lane) const;
};

/// Reads the pictures of any step of an epoch: the same for every process that asks (D5).
class StepReader {
 public:
  /// Throws ConfigError for options out of range, or a data set that gives no step.
  StepReader(DatasetPtr data, StepOptions options);

  const StepOptions& options() const { return options_; }
  int64_t steps_per_epoch() const { return steps_; }
  /// Pictures of a step: fewer in a ragged last one.
  int64_t pictures(int64_t step) const;

  /// Steps read from now on are of this epoch, from 0. Not while another thread reads.
  void set_epoch(int64_t epoch);
  /// Rows [first, first + rows) of a step. `scratch` is reused memory. Throws DataError naming epoch, step and picture.
  void read(int64_t step, int64_t first, int64_t rows, Batch& batch, std::vector<uint8_t>& scratch) const;

 private:
  DatasetPtr data_;
  StepOptions options_;
  int64_t steps_ = 0;
  int64_t epoch_ = -1;
  std::vector<uint32_t> order_;
};

}  // namespace tern::data
