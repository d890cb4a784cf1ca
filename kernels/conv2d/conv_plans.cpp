#include "kernels/conv2d/conv_plans.h"

#include <charconv>

#include "core/error.h"
#include "kernels/common/on_cuda.h"
#include "kernels/conv2d/conv2d_job.h"

namespace tern {
namespace cuda {
// conv2d_cuda.cpp
std::string conv_library();
std::string gpu_name(Context& context);
}  // namespace cuda
namespace {

constexpr std::string_view kTitle = "tern conv plans 1";

std::string pair_text(Pair pair) { return std::to_string(pair.h) + "," + std::to_string(pair.w); }

std::string shape_text(const Shape& shape) {
  std::string text;
  for (const int64_t extent : shape) text += (text.empty() ? "" : ",") + std::to_string(extent);
  return text;
}

std::string plan_text(const ConvPlan& plan) {
  if (plan.own) return "own";
  std::string text = "engine " + std::to_string(plan.engine) + (plan.fused_bias ? " bias" : "");
  for (const ConvPlan::Knob& knob : plan.knobs)
    text += " " + std::to_string(knob.type) + ":" + std::to_string(knob.value);
  return text;
}

/// The text up to `end`, or all of it; `text` goes on behind it.
std::string_view take(std::string_view& text, char end) {
  const size_t at = text.find(end);
  const std::string_view part = text.substr(0, at);
  text = at == std::string_view::npos ? std::string_view() : text.substr(at + 1);
  return part;
}

template <class T>
bool parse_number(std::string_view text, T& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

std::optional<ConvPlan> parse_plan(std::string_view text) {
  ConvPlan plan;
  if (text == "own") {
    plan.own = true;
    return plan;
  }
  if (take(text, ' ') != "engine" || !parse_number(take(text, ' '), plan.engine) || plan.engine < 0)
    return std::nullopt;
  while (!text.empty()) {
    std::string_view word = take(text, ' ');
    if (word == "bias" && !plan.fused_bias && plan.knobs.empty()) {
      plan.fused_bias = true;
      continue;
    }
    ConvPlan::Knob knob;
    if (!parse_number(take(word, ':'), knob.type) || !parse_number(word, knob.value)) return std::nullopt;
    plan.knobs.push_back(knob);
  }
  return plan;
}

[[noreturn]] void throw_line(int line, std::string_view got, const std::string& wanted) {
  throw DataError("[conv plans] line " + std::to_string(line) + " is \"" + std::string(got) + "\", wants " + wanted);
}

}  // namespace

std::string ConvJob::key(bool tf32) const {
  const Conv2d& o = shape.options;
  return std::string(op()) + " " + std::string(name_of(dtype)) + " x " + shape_text(shape.x_shape()) + " w " +
         shape_text(shape.w_shape()) + " stride " + pair_text(o.stride) + " padding " + pair_text(o.padding) +
         " dilation " + pair_text(o.dilation) + " groups " + std::to_string(o.groups) + " bias " +
         std::to_string(bias ? 1 : 0) + " tf32 " + std::to_string(tf32 ? 1 : 0);
}

std::string conv_library() {
  if constexpr (kCudaBuild) return cuda::conv_library();
  return "none";
}

ConvPlans::ConvPlans(Context& context) : library_("none"), gpu_("none") {
  if constexpr (kCudaBuild)
    if (on_cuda(context)) {
      library_ = conv_library();
      gpu_ = cuda::gpu_name(context);
    }
}

const ConvPlan* ConvPlans::find(const std::string& key) const {
  const auto found = plans_.find(key);
  return found == plans_.end() ? nullptr : &found->second;
}

std::string ConvPlans::text() const {
  std::string text = std::string(kTitle) + "\ncudnn " + library_ + "\ngpu " + gpu_ + "\n";
  for (const auto& [key, plan] : plans_) text += key + " = " + plan_text(plan) + "\n";
  return text;
}

void ConvPlans::load(std::string_view text) {
  const std::string_view title = take(text, '\n'), library = take(text, '\n'), gpu = take(text, '\n');
  if (title != kTitle) throw_line(1, title, "\"" + std::string(kTitle) + "\"");
  if (library != "cudnn " + library_) throw_line(2, library, "\"cudnn " + library_ + "\", the one in use");
  if (gpu != "gpu " + gpu_) throw_line(3, gpu, "\"gpu " + gpu_ + "\", the one in use");
  std::map<std::string, ConvPlan> read;
  for (int line = 4; !text.empty(); ++line) {
    const std::string_view row = take(text, '\n');
    const size_t middle = row.find(" = ");
    const std::optional<ConvPlan> plan =
        middle == std::string_view::npos ? std::nullopt : parse_plan(row.substr(middle + 3));
    if (!plan)
      throw_line(line, row, "\"<convolution> = own\" or \"<convolution> = engine <index> [bias] <knob>:<value>...\"");
    if (!read.emplace(row.substr(0, middle), *plan).second) throw_line(line, row, "each convolution once");
  }
  plans_.merge(read);
}

}  // namespace tern
