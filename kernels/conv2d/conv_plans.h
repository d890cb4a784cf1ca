#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/context.h"

namespace tern {

/// cuDNN's version, as "9.19.0"; "none" in a build without it.
std::string conv_library();

/// How cuDNN runs one convolution: an engine with its settings, or tern's own kernel.
struct ConvPlan {
  struct Knob {
    int type = 0;  ///< cudnnBackendKnobType_t
    int64_t value = 0;
    bool operator==(const Knob&) const = default;
  };
  bool own = false;         ///< no engine of cuDNN: the rest means nothing
  bool fused_bias = false;  ///< the engine adds the bias, too
  int64_t engine = 0;       ///< cuDNN's global index
  std::vector<Knob> knobs = {};
  bool operator==(const ConvPlan&) const = default;
};

/// The plans chosen so far, by timing, in one context: `context.extension<ConvPlans>()`. Saved with a run and read again
/// when it goes on, they give the same engines, so the same bits. Any build can read and write them.
class ConvPlans {
 public:
  /// Of the context's GPU and of the cuDNN that runs it; of "none" on a CPU and in a build without cuDNN.
  explicit ConvPlans(Context& context);
  ConvPlans(std::string library, std::string gpu) : library_(std::move(library)), gpu_(std::move(gpu)) {}

  /// Null: not chosen yet.
  const ConvPlan* find(const std::string& key) const;
  void set(const std::string& key, ConvPlan plan) { plans_[key] = std::move(plan); }
  size_t size() const { return plans_.size(); }

  /// One line for each plan, sorted, after lines that name the library and the GPU.
  std::string text() const;
  /// Adds the plans of text(); one that is there already stays. Throws DataError naming the line that cannot be read,
  /// or when the text is of another cuDNN or another GPU: its engines would not be the same.
  void load(std::string_view text);

 private:
  std::string library_, gpu_;
  std::map<std::string, ConvPlan> plans_;
};

}  // namespace tern
