#include "tools/data_loader.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <utility>

namespace tern::data {
namespace {

void require(bool ok, std::string_view key, int64_t got, std::string_view wanted) {
  if (!ok)
    throw ConfigError("[loader] " + std::string(key) + " is " + std::to_string(got) + ", wanted " +
                      std::string(wanted));
}

}  // namespace

int Batch::lane_size(int lane) const {
  return static_cast<int>(std::clamp<int64_t>(size() - int64_t{lane} * micro_batch, 0, micro_batch));
}

Loader::Loader(DatasetPtr data, LoaderOptions options) : data_(std::move(data)), options_(std::move(options)) {
  const LoaderOptions& o = options_;
  constexpr int kMost = 1 << 20;
  require(o.micro_batch >= 1 && o.micro_batch <= kMost, "micro_batch", o.micro_batch, "1..1048576");
  require(o.lanes >= 1 && o.lanes <= kMost, "lanes", o.lanes, "1..1048576");
  require(o.threads >= 0 && o.threads <= 256, "loader_threads", o.threads, "0..256");
  require(o.prefetch >= 1 && o.prefetch <= 1024, "prefetch", o.prefetch, "1..1024");
  check_augment(o.augment, data_->shape());

  const int64_t batch = int64_t{o.micro_batch} * o.lanes;
  steps_ = o.drop_last ? data_->size() / batch : (data_->size() + batch - 1) / batch;
  if (steps_ == 0) {
    throw ConfigError("[loader] " + std::to_string(data_->size()) + " pictures give no batch of " +
                      std::to_string(batch));
  }
  // Never more slots than steps: a small data set or a huge batch must not cost prefetch times the memory.
  slots_.resize(static_cast<size_t>(std::min<int64_t>(o.prefetch, steps_) + 1));
  for (Slot& slot : slots_) {
    const auto rows = static_cast<size_t>(std::min(batch, data_->size()));
    slot.batch.indices.reserve(rows);
    if (!o.pixels) continue;
    slot.batch.images.reserve(rows * static_cast<size_t>(data_->shape().bytes()));
    slot.batch.labels.reserve(rows);
  }
  order_.resize(static_cast<size_t>(data_->size()));
  for (int i = 0; i < o.threads; ++i) threads_.emplace_back([this] { work(); });
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
  require(epoch >= 0, "epoch", epoch, "0 or more");
  require(step >= 0 && step <= steps_, "step", step, "0.." + std::to_string(steps_));
  {
    std::unique_lock lock(mutex_);
    end_ = next_fill_;  // nothing more to take
    filled_.wait(lock, [this] { return filling_ == 0; });
    epoch_ = epoch;
    if (options_.shuffle) {
      order_ = keyed_permutation(data_->size(),
                                 {.seed = options_.seed, .epoch = static_cast<uint64_t>(epoch), .op = kRngShuffle});
    } else {
      std::iota(order_.begin(), order_.end(), 0u);
    }
    for (Slot& slot : slots_) slot.ready = false;
    next_fill_ = next_out_ = step;
    end_ = steps_;
  }
  room_.notify_all();
}

const Batch* Loader::next() {
  std::unique_lock lock(mutex_);
  if (next_out_ >= end_) return nullptr;
  Slot& slot = slot_of(next_out_);
  if (!slot.ready) {
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

void Loader::work() {
  std::vector<uint8_t> scratch;
  const auto ahead = static_cast<int64_t>(slots_.size()) - 1;
  std::unique_lock lock(mutex_);
  while (true) {
    room_.wait(lock, [&] { return stop_ || (next_fill_ < end_ && next_fill_ < next_out_ + ahead); });
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
  try {
    fill(slot, step, scratch);
  } catch (...) {
    slot.error = std::current_exception();
  }
}

void Loader::fill(Slot& slot, int64_t step, std::vector<uint8_t>& scratch) const {
  const PictureShape shape = data_->shape();
  const auto bytes = static_cast<size_t>(shape.bytes());
  const int64_t wanted = int64_t{options_.micro_batch} * options_.lanes;
  const int64_t first = step * wanted;
  const auto count = static_cast<size_t>(std::min(wanted, data_->size() - first));
  Batch& batch = slot.batch;
  batch.epoch = epoch_;
  batch.step = step;
  batch.micro_batch = options_.micro_batch;
  batch.indices.resize(count);
  if (!options_.pixels) {
    std::copy_n(order_.begin() + first, count, batch.indices.begin());
    return;
  }
  batch.images.resize(count * bytes);
  batch.labels.resize(count);
  for (size_t row = 0; row < count; ++row) {
    const int64_t index = order_[static_cast<size_t>(first) + row];
    const auto picture = std::span(batch.images).subspan(row * bytes, bytes);
    try {
      data_->read(index, picture);
    } catch (const std::exception& error) {
      throw DataError("[loader] epoch " + std::to_string(epoch_) + ", step " + std::to_string(step) + ", picture " +
                      std::to_string(index) + ": " + error.what());
    }
    apply_augment(options_.augment, shape, options_.seed, static_cast<uint64_t>(epoch_), static_cast<uint64_t>(index),
                  picture, scratch);
    batch.labels[row] = data_->label(index);
    batch.indices[row] = index;
  }
}

}  // namespace tern::data
