#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/rng.h"

/// Pictures with labels, as the loader and the evaluation see them. Pixels stay on disk until they are read.
namespace tern::data {

/// Size of one picture: uint8, rows of pixels, channels interleaved (HWC).
struct PictureShape {
  int height = 0;
  int width = 0;
  int channels = 0;
  int64_t bytes() const { return int64_t{height} * width * channels; }
  bool operator==(const PictureShape&) const = default;
};

/// A data set that is not there at all (programs: exit 3). The message says where to get it, also without a network.
struct DataMissing : DataError {
  using DataError::DataError;
};

/// A fixed list of pictures of one size. All functions may be called from several threads at once.
class Dataset {
 public:
  virtual ~Dataset() = default;
  /// What the pictures are, for consoles, metrics and checkpoints: cifar10, cifar100, synthetic ...
  virtual std::string_view name() const = 0;
  virtual int64_t size() const = 0;
  virtual PictureShape shape() const = 0;
  /// Names of the classes; label l is classes()[l].
  virtual const std::vector<std::string>& classes() const = 0;
  /// Label of picture `index` in 0..size()-1.
  virtual int64_t label(int64_t index) const = 0;
  /// Writes picture `index`, shape().bytes() bytes in HWC order. Throws DataError naming the file and record.
  virtual void read(int64_t index, std::span<uint8_t> hwc) const = 0;
  /// Where picture `index` comes from, for messages: "data_batch_2.bin record 17".
  virtual std::string where(int64_t index) const = 0;
};

using DatasetPtr = std::shared_ptr<const Dataset>;

/// The pictures of `data` at `indices`, in that order. Throws ConfigError for an index outside the data set.
DatasetPtr subset(DatasetPtr data, std::vector<int64_t> indices);

/// The first `count` pictures, or all of them where there are fewer. Throws ConfigError for count < 1.
DatasetPtr limit(DatasetPtr data, int64_t count);

/// Which pictures are held out; both lists ascend.
struct HeldOut {
  std::vector<int64_t> train, validation;
};

/// round(fraction * size) pictures, drawn by the seed alone. Throws ConfigError unless 0 < fraction < 1 and both parts
/// get a picture.
HeldOut held_out(int64_t size, double fraction, uint64_t seed);

struct TrainValidation {
  DatasetPtr train;
  DatasetPtr validation;  ///< null when the fraction is 0
};

/// Keeps round(fraction * size) pictures, drawn by the seed alone, for validation; both parts stay in file order.
/// Throws ConfigError unless 0 <= fraction < 1 and both parts get a picture.
TrainValidation split_validation(DatasetPtr data, double fraction, uint64_t seed);

/// SHA-256 over name, shape, class count, labels and pixels: two machines with equal digests train on the same
/// pictures. Reads every picture.
std::string digest(const Dataset& data);

/// A permutation of 0..n-1 that depends on the key alone (Fisher-Yates). n < 2^32.
std::vector<uint32_t> keyed_permutation(int64_t n, const RngKey& key);

}  // namespace tern::data
