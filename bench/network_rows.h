#pragma once
#include <string>
#include <vector>

#include "bench/row.h"
#include "nn/network.h"

namespace tern::bench {

constexpr int kDefaultBatch = 128;  ///< pictures: 4 lanes of 32

/// A network whose layers are timed at their own sizes.
struct Timed {
  std::string name;
  std::vector<nn::LayerSpec> layers;
  int64_t lane_size = 32;  ///< pictures; a batch that is not longer is one lane
};

/// cifar-cnn, lenet (one lane of 128), resnet18 and airbench94, on pictures of 32x32x3.
std::vector<Timed> timed_networks();

/// Rows of `batch` pictures: a convolution's three passes as "cifar-cnn/conv2/forward", "/dgrad" and "/wgrad",
/// BatchNorm with its relu, activations, pools and linear layers "/forward" and "/backward", the loss, and AdamW over as many
/// parameters as "/step". The first layer has no dgrad: nobody wants the pictures' gradient. Layers of one network that are
/// alike have one row, named after the first of them.
std::vector<Row> network_rows(const Timed& network, int64_t batch);

}  // namespace tern::bench
