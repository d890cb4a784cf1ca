#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "core/parameter_store.h"
#include "core/plan.h"
#include "kernels/augment_images/augment_images.h"
#include "nn/network.h"
#include "tools/config.h"
#include "tools/data_loader.h"

namespace tern {

struct StepSwitches {
  bool fold = true;          ///< lanes of a step in one batch, where that does not take too much memory; false: one after another
  bool plan = true;          ///< record and replay
  bool reuse_memory = true;  ///< the plan's memory planner
};

/// The network, its parameters, and forward and backward of pictures: what every process that computes lanes has.
///
/// With precision fp16 or bf16 the pass computes in 16 bits on rounded weights, with statistics and loss in f32.
/// Ref: Micikevicius et al. 2018, arXiv:1710.03740.
class LanePass {
 public:
  /// Throws ConfigError when network and pictures do not fit each other. Sets the context's lane size.
  LanePass(Context& context, const Config& config, data::PictureShape pictures, int64_t classes);

  /// Keeps a data set in the device's memory: batches from then on need no pixels, pictures are looked up and changed
  /// on the device, to the same bytes as the loader's. Before the first pass.
  void make_resident(const data::Dataset& data, std::span<const data::Augment> augment);

  /// Sets the weights that start from training pictures, where the network has such: from the first Network::kWhiteningPictures of `data`,
  /// normalised, without augmentation. In a fresh run, before other weights are loaded.
  void initialize_from(const data::Dataset& data);

  struct Result {
    Tensor report;    ///< f32 [2n]: the loss of each picture, then 1 for each that was predicted right
    Tensor loss_bad;  ///< f32 [1], not 0: a loss is not finite
    std::vector<Tensor> statistics;  ///< of BatchNorm, each [lanes, C]

    /// As a plan's outputs: report, loss_bad, statistics.
    std::vector<Tensor> list() const;
  };
  /// Forward and backward of `in` (see inputs_of), lanes of the context's lane size folded into one batch: their
  /// gradients are summed in the canonical tree (D5) and left in `gradient`, f32 [P]. Meant to be recorded.
  Result run(std::span<const Tensor> in, const Tensor& loss_scale, const Tensor& gradient);

  /// From the next pass that is recorded on, `ready(first)` is called while run() still computes, when elements [first, P) of
  /// its gradient are final: each time with at least `bucket` more, and with 0 at last. On the CPU only; one listener a context.
  void set_gradient_listener(int64_t bucket, std::function<void(int64_t first)> ready);

  /// Rows [first, first + rows) of `batch` as tensors: samples i64 [n], weights f32 [n] (1 / `pictures`, those of the whole
  /// step; 1 where the loss is a sum), and unless the data set is resident images u8 [n,H,W,C] and labels i64 [n].
  std::vector<Tensor> inputs_of(const data::Batch& batch, int64_t first, int64_t rows, int64_t pictures) const;

  /// The C of each of the statistics. Passes a black picture through the network, from which layers learn the extents of
  /// their input: before a step whose lanes others compute.
  std::vector<int64_t> statistics_sizes();

  /// To be called when the parameters were written from outside.
  void weights_changed();
  nn::Network& network() { return *network_; }
  ParameterStore& store() { return *store_; }
  const ParameterStore& store() const { return *store_; }
  /// What an evaluation of the network computes in and with.
  DType dtype() const { return dtype_; }

 private:
  struct Resident {
    Tensor images, labels;  ///< u8 [D,H,W,C], i64 [D]
    AugmentImages augment;
  };

  void flatten_gradients(const Tensor& losses, const Tensor& seed, const Tensor& gradient);

  Context& context_;
  NormalizeConfig normalize_;
  double label_smoothing_;
  bool mean_loss_;
  data::PictureShape pictures_;
  DType dtype_;
  std::unique_ptr<nn::Network> network_;
  std::unique_ptr<ParameterStore> store_;
  std::vector<int64_t> offsets_;  // of the parameters' gradients in a flat tensor
  std::optional<Resident> resident_;
};

}  // namespace tern
