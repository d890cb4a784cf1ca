#pragma once
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "tools/augment.h"
#include "tools/data_set.h"

namespace tern::data {

struct LoaderOptions {
  int micro_batch = 32;  ///< pictures a lane
  int lanes = 4;         ///< lanes a step
  int threads = 1;       ///< loader threads; 0 reads in the caller's thread
  int prefetch = 4;      ///< batches that may be ready ahead of the one in use
  uint64_t seed = 42;
  bool shuffle = true;     ///< a fresh keyed permutation every epoch; otherwise the data set's own order
  bool drop_last = false;  ///< leave out the last, smaller batch of an epoch
  bool pixels = true;      ///< false: batches name their pictures only, images and labels stay empty
  std::vector<Augment> augment = {};
};

/// The pictures of one step: lane l holds rows l*micro_batch .. l*micro_batch + lane_size(l) - 1.
struct Batch {
  int64_t epoch = 0;
  int64_t step = 0;  ///< in the epoch
  int micro_batch = 0;
  std::vector<uint8_t> images;   ///< [N,H,W,C]
  std::vector<int64_t> labels;   ///< [N]
  std::vector<int64_t> indices;  ///< [N]: which pictures of the data set these are

  int64_t size() const { return static_cast<int64_t>(indices.size()); }
  /// Lanes that hold a picture: fewer than asked for in a ragged last step.
  int lanes() const { return static_cast<int>((size() + micro_batch - 1) / micro_batch); }
  int lane_size(int lane) const;
};

/// Reads a data set in batches ahead of its consumer. What a batch holds depends on the data set, the options other
/// than `threads` and `prefetch`, the epoch and the step: never on threads or on timing (D5). One consumer: start, next
/// and wait_seconds are called from one thread.
class Loader {
 public:
  /// Throws ConfigError for options out of range.
  Loader(DatasetPtr data, LoaderOptions options);
  /// Stops the threads; batches under way are abandoned.
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  const LoaderOptions& options() const { return options_; }
  int64_t steps_per_epoch() const { return steps_; }

  /// Begins an epoch at one of its steps (0..steps_per_epoch()), giving up what was under way. The last batch returned
  /// is void afterwards. Throws ConfigError for a step out of range.
  void start(int64_t epoch, int64_t step = 0);

  /// The next batch, or null at the end of the epoch; it stays valid until the next call of next or start.
  /// Rethrows what went wrong in a loader thread as DataError naming epoch, step and picture.
  const Batch* next();

  /// Seconds that next has spent waiting for pictures since construction.
  double wait_seconds() const { return wait_seconds_; }

 private:
  struct Slot {
    Batch batch;
    std::exception_ptr error;
    bool ready = false;
  };

  void work();
  void fill(Slot& slot, int64_t step, std::vector<uint8_t>& scratch) const;
  void fill_guarded(Slot& slot, int64_t step, std::vector<uint8_t>& scratch) const;
  Slot& slot_of(int64_t step) { return slots_[static_cast<size_t>(step) % slots_.size()]; }

  const DatasetPtr data_;
  const LoaderOptions options_;
  int64_t steps_ = 0;

  // Written by start while no thread fills, read by the threads without the mutex.
  int64_t epoch_ = 0;
  std::vector<uint32_t> order_;

  std::mutex mutex_;
  std::condition_variable room_;    ///< there may be a step to fill
  std::condition_variable filled_;  ///< a step was filled
  std::vector<Slot> slots_;         ///< ring of prefetch + 1: the last one is the batch in the consumer's hands
  int64_t next_fill_ = 0;           ///< first step that no thread has taken
  int64_t next_out_ = 0;            ///< first step not yet given to the consumer
  int64_t end_ = 0;
  int filling_ = 0;
  bool stop_ = false;

  double wait_seconds_ = 0.0;
  std::vector<uint8_t> scratch_;  ///< of the consumer's thread
  std::vector<std::thread> threads_;
};

}  // namespace tern::data
