#pragma once
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "dist/lane_tree.h"
#include "tools/step_reader.h"

namespace tern {
class Profile;
}

namespace tern::data {

struct LoaderOptions : StepOptions {
  int threads = 1;   ///< loader threads; 0 reads in the caller's thread
  int prefetch = 4;  ///< batches that may be ready ahead of the one in use
  std::optional<dist::LaneRange> lanes_here = {};  ///< batches hold the rows of these lanes; nothing: of all
  Profile* profile = nullptr;  ///< hears what the threads do; must outlive the loader
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
  int64_t steps_per_epoch() const { return reader_.steps_per_epoch(); }

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

  void work(int thread);
  void fill_guarded(Slot& slot, int64_t step, std::vector<uint8_t>& scratch) const;
  Slot& slot_of(int64_t step) { return slots_[static_cast<size_t>(step) % slots_.size()]; }

  const LoaderOptions options_;
  StepReader reader_;  // its epoch is set by start while no thread fills; the threads read without the mutex

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
