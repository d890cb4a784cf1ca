#include "tools/data_loader.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "tools/profile.h"

namespace tern::data {

Loader::Loader(DatasetPtr data, LoaderOptions options) : options_(std::move(options)), reader_(std::move(data), options_) {
  const LoaderOptions& o = options_;
  require_in_range(o.threads >= 0 && o.threads <= 256, "loader_threads", o.threads, "0..256");
  require_in_range(o.prefetch >= 1 && o.prefetch <= 1024, "prefetch", o.prefetch, "1..1024");
  // Never more slots than steps: a small data set or a huge batch must not cost prefetch times the memory.
  slots_.resize(static_cast<size_t>(std::min<int64_t>(o.prefetch, steps_per_epoch()) + 1));
  for (int i = 0; i < o.threads; ++i) threads_.emplace_back([this, i] { work(i); });
}

Loader::~Loader() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  room_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Loader::start(int64_t epoch, int64_t step) {
  const int64_t steps = steps_per_epoch();
  require_in_range(step >= 0 && step <= steps, "step", step, "0.." + std::to_string(steps));
  {
    std::unique_lock lock(mutex_);
    end_ = next_fill_;  // nothing more to take
    filled_.wait(lock, [this] { return filling_ == 0; });
    reader_.set_epoch(epoch);
    for (Slot& slot : slots_) slot.ready = false;
    next_fill_ = next_out_ = step;
    end_ = steps;
  }
  room_.notify_all();
}

const Batch* Loader::next() {
  std::unique_lock lock(mutex_);
  if (next_out_ >= end_) return nullptr;
  Slot& slot = slot_of(next_out_);
  if (!slot.ready) {
    const Profile::Span span(options_.profile, "wait for data", "loader");
    const auto begin = std::chrono::steady_clock::now();
    if (threads_.empty()) {
      fill_guarded(slot, next_out_, scratch_);
      slot.ready = true;
    } else {
      filled_.wait(lock, [&slot] { return slot.ready; });
    }
    wait_seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }
  if (slot.error) std::rethrow_exception(slot.error);
  slot.ready = false;
  ++next_out_;
  lock.unlock();
  room_.notify_one();
  return &slot.batch;
}

void Loader::work(int thread) {
  if (options_.profile) options_.profile->name_thread("loader " + std::to_string(thread));
  std::vector<uint8_t> scratch;
  const auto ahead = static_cast<int64_t>(slots_.size()) - 1;
  std::unique_lock lock(mutex_);
  while (true) {
    {
      const Profile::Span span(options_.profile, "wait for room", "loader");
      room_.wait(lock, [&] { return stop_ || (next_fill_ < end_ && next_fill_ < next_out_ + ahead); });
    }
    if (stop_) return;
    const int64_t step = next_fill_++;
    Slot& slot = slot_of(step);
    ++filling_;
    lock.unlock();
    fill_guarded(slot, step, scratch);
    lock.lock();
    slot.ready = true;
    --filling_;
    filled_.notify_one();
  }
}

void Loader::fill_guarded(Slot& slot, int64_t step, std::vector<uint8_t>& scratch) const {
  slot.error = nullptr;
  const Profile::Span span(options_.profile, "read a step", "loader");
  try {
    int64_t first = 0, end = reader_.pictures(step);
    if (options_.lanes_here) {  // in a ragged step there may be none
      first = std::min(end, int64_t{options_.lanes_here->first} * options_.micro_batch);
      end = std::min(end, int64_t{options_.lanes_here->end()} * options_.micro_batch);
    }
    reader_.read(step, first, end - first, slot.batch, scratch);
  } catch (...) {
    slot.error = std::current_exception();
  }
}

}  // namespace tern::data
