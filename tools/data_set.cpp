#include "tools/data_set.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <utility>

#include "tools/data_digest.h"

namespace tern::data {
namespace {

class Subset : public Dataset {
 public:
  Subset(DatasetPtr data, std::vector<int64_t> indices) : data_(std::move(data)), indices_(std::move(indices)) {
    for (const int64_t index : indices_) {
      if (index < 0 || index >= data_->size()) {
        throw ConfigError("[data] picture " + std::to_string(index) + " wanted, but " + std::string(data_->name()) +
                          " has " + std::to_string(data_->size()));
      }
    }
  }
  std::string_view name() const override { return data_->name(); }
  int64_t size() const override { return static_cast<int64_t>(indices_.size()); }
  PictureShape shape() const override { return data_->shape(); }
  const std::vector<std::string>& classes() const override { return data_->classes(); }
  int64_t label(int64_t index) const override { return data_->label(source(index)); }
  void read(int64_t index, std::span<uint8_t> hwc) const override { data_->read(source(index), hwc); }
  std::string where(int64_t index) const override { return data_->where(source(index)); }

 private:
  int64_t source(int64_t index) const { return indices_.at(static_cast<size_t>(index)); }
  DatasetPtr data_;
  std::vector<int64_t> indices_;
};

}  // namespace

DatasetPtr subset(DatasetPtr data, std::vector<int64_t> indices) {
  return std::make_shared<Subset>(std::move(data), std::move(indices));
}

DatasetPtr limit(DatasetPtr data, int64_t count) {
  if (count < 1) throw ConfigError("[data] limit is " + std::to_string(count) + ", wanted at least 1");
  if (count >= data->size()) return data;
  std::vector<int64_t> first(static_cast<size_t>(count));
  std::iota(first.begin(), first.end(), int64_t{0});
  return subset(std::move(data), std::move(first));
}

HeldOut held_out(int64_t size, double fraction, uint64_t seed) {
  if (!(fraction >= 0.0 && fraction < 1.0)) {
    throw ConfigError("[data] val_fraction is " + std::to_string(fraction) + ", wanted 0 <= val_fraction < 1");
  }
  const int64_t count = std::llround(fraction * static_cast<double>(size));
  if (count < 1 || count >= size) {
    throw ConfigError("[data] val_fraction " + std::to_string(fraction) + " of " + std::to_string(size) +
                      " pictures leaves " + std::to_string(size - count) + " for training and " +
                      std::to_string(count) + " for validation, wanted at least 1 each");
  }
  const std::vector<uint32_t> order = keyed_permutation(size, {.seed = seed, .op = kRngSplit});
  HeldOut parts{{order.begin() + count, order.end()}, {order.begin(), order.begin() + count}};
  std::sort(parts.validation.begin(), parts.validation.end());
  std::sort(parts.train.begin(), parts.train.end());
  return parts;
}

TrainValidation split_validation(DatasetPtr data, double fraction, uint64_t seed) {
  if (fraction == 0.0) return {std::move(data), nullptr};
  HeldOut parts = held_out(data->size(), fraction, seed);
  return {subset(data, std::move(parts.train)), subset(data, std::move(parts.validation))};
}

std::string digest(const Dataset& data) {
  const PictureShape shape = data.shape();
  Sha256 hash;
  hash.update("tern data set 1\n" + std::string(data.name()) + "\n" + std::to_string(data.size()) + " " +
              std::to_string(shape.height) + " " + std::to_string(shape.width) + " " + std::to_string(shape.channels) +
              " " + std::to_string(data.classes().size()) + "\n");
  std::vector<uint8_t> picture(static_cast<size_t>(shape.bytes()));
  for (int64_t i = 0; i < data.size(); ++i) {
    const auto label = static_cast<uint32_t>(data.label(i));
    const std::array<uint8_t, 4> little_endian = {static_cast<uint8_t>(label), static_cast<uint8_t>(label >> 8),
                                                  static_cast<uint8_t>(label >> 16), static_cast<uint8_t>(label >> 24)};
    data.read(i, picture);
    hash.update(little_endian);
    hash.update(picture);
  }
  return hash.hex();
}

std::vector<uint32_t> keyed_permutation(int64_t n, const RngKey& key) {
  if (n < 0 || n > int64_t{UINT32_MAX}) throw ConfigError("[data] cannot permute " + std::to_string(n) + " pictures");
  std::vector<uint32_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0u);
  Random4 words{};
  uint32_t drawn = 0;
  for (size_t last = order.size(); last > 1; --last, ++drawn) {
    if (drawn % 4 == 0) words = random4(key, drawn / 4);
    std::swap(order[last - 1], order[uniform_below(words.v[drawn % 4], static_cast<uint32_t>(last))]);
  }
  return order;
}

}  // namespace tern::data
