#include "tools/step_reader.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

namespace tern::data {

void require_in_range(bool ok, std::string_view key, int64_t got, std::string_view wanted) {
  if (!ok)
    throw ConfigError("[loader] " + std::string(key) + " is " + std::to_string(got) + ", wanted " + std::string(wanted));
}

int Batch::lane_size(int lane) const {
  return static_cast<int>(std::clamp<int64_t>(size() - int64_t{lane} * micro_batch, 0, micro_batch));
}

StepReader::StepReader(DatasetPtr data, StepOptions options) : data_(std::move(data)), options_(std::move(options)) {
  const StepOptions& o = options_;
  constexpr int kMost = 1 << 20;
  require_in_range(o.micro_batch >= 1 && o.micro_batch <= kMost, "micro_batch", o.micro_batch, "1..1048576");
  require_in_range(o.lanes >= 1 && o.lanes <= kMost, "lanes", o.lanes, "1..1048576");
  check_augment(o.augment, data_->shape());

  const int64_t batch = int64_t{o.micro_batch} * o.lanes;
  steps_ = steps_of(data_->size(), batch, o.drop_last);
  if (steps_ == 0)
    throw ConfigError("[loader] " + std::to_string(data_->size()) + " pictures give no batch of " + std::to_string(batch));
  order_.resize(static_cast<size_t>(data_->size()));
}

int64_t StepReader::pictures(int64_t step) const {
  const int64_t batch = int64_t{options_.micro_batch} * options_.lanes;
  return std::min(batch, data_->size() - step * batch);
}

void StepReader::set_epoch(int64_t epoch) {
  require_in_range(epoch >= 0, "epoch", epoch, "0 or more");
  if (epoch == epoch_) return;
  epoch_ = epoch;
  if (options_.shuffle)
    order_ = keyed_permutation(data_->size(), {.seed = options_.seed, .epoch = static_cast<uint64_t>(epoch), .op = kRngShuffle});
  else
    std::iota(order_.begin(), order_.end(), 0u);
}

void StepReader::read(int64_t step, int64_t first, int64_t rows, Batch& batch, std::vector<uint8_t>& scratch) const {
  const PictureShape shape = data_->shape();
  const auto bytes = static_cast<size_t>(shape.bytes());
  const auto count = static_cast<size_t>(rows);
  const auto begin = order_.begin() + step * options_.micro_batch * options_.lanes + first;
  batch.epoch = epoch_;
  batch.step = step;
  batch.micro_batch = options_.micro_batch;
  batch.first_row = first;
  batch.step_pictures = pictures(step);
  batch.indices.assign(begin, begin + rows);
  if (!options_.pixels) return;
  batch.images.resize(count * bytes);
  batch.labels.resize(count);
  for (size_t row = 0; row < count; ++row) {
    const int64_t index = batch.indices[row];
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
  }
}

}  // namespace tern::data
