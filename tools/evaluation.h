#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/plan.h"
#include "nn/module.h"
#include "tools/config.h"
#include "tools/data_set.h"

namespace tern {

struct EvaluationOptions {
  NormalizeConfig normalize;
  int64_t batch = 128;
  int loader_threads = 1;
  TtaName tta = TtaName::none;
  DType dtype = DType::f32;  ///< of the pictures that the network is given; its weights must go with it
  bool plan = true;
  std::shared_ptr<Arena> arena = {};  ///< shared with a training's plans; null: one of its own
  std::function<void(int64_t done, int64_t total)> progress = {};
};

/// What a network makes of one picture.
struct Prediction {
  int32_t label = 0;
  int32_t predicted = 0;     ///< the class with the largest logit, the first of equals; -1: the logits are not numbers
  int32_t rank = 0;          ///< classes whose logit is larger than the label's
  float loss = 0;            ///< -log softmax(logits)[label]
  float probability = 0;     ///< of the predicted class
};

/// A network on a whole data set.
struct Evaluation {
  std::vector<std::string> classes;
  std::vector<Prediction> predictions;  ///< one a picture, in the data set's order
  double loss = 0;                      ///< mean cross-entropy, without label smoothing
  double top1 = 0, top5 = 0;            ///< shares of the pictures; top5 with fewer than 6 classes is 1
  double seconds = 0;
  /// [label][predicted]; predictions of -1 are left out.
  std::vector<std::vector<int64_t>> confusion() const;
};

/// The forward pass of an evaluation, recorded: uint8 pictures [N,H,W,C] -> f32 logits. The network is in evaluation mode
/// and outlives the step.
CompiledStep evaluation_step(Context& context, nn::Module& network, const EvaluationOptions& options);

/// Runs `network` in evaluation mode (and puts it back) over `data`. The result does not depend on the batch, on
/// threads or on the plan. Throws DataError when a picture cannot be read, ConfigError when the network's scores are
/// not one a class.
Evaluation evaluate(Context& context, nn::Module& network, const data::DatasetPtr& data, const EvaluationOptions& options);

struct ClassScore {
  std::string name;
  int64_t pictures = 0, predicted = 0, correct = 0;
  double recall() const { return pictures ? static_cast<double>(correct) / static_cast<double>(pictures) : 0; }
  double precision() const { return predicted ? static_cast<double>(correct) / static_cast<double>(predicted) : 0; }
};
std::vector<ClassScore> class_scores(const Evaluation& evaluation);

/// Indices of the wrongly predicted pictures, the largest loss first, at most `count`.
std::vector<int64_t> worst_mistakes(const Evaluation& evaluation, int64_t count);

/// McNemar's test of two networks on the same pictures: do they err equally often? Exact binomial for under 25
/// discordant pictures, else chi-square with continuity correction. Ref: McNemar (1947), Edwards (1948).
struct McNemar {
  int64_t only_first = 0;   ///< right by the first alone
  int64_t only_second = 0;  ///< right by the second alone
  double p_value = 1;
};
/// Whether two evaluations are of the same pictures, as far as labels tell.
bool same_pictures(const Evaluation& a, const Evaluation& b);
/// Throws ConfigError where they are not.
McNemar mcnemar(const Evaluation& first, const Evaluation& second);

/// 95 % confidence interval of a share `p` of n. Ref: Wilson (1927).
struct Interval {
  double low = 0, high = 1;
};
Interval wilson_interval(double p, int64_t n);

}  // namespace tern
