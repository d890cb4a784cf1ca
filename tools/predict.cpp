#include "tools/predict.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>

#include "core/error.h"
#include "tools/evaluation.h"
#include "tools/join_group.h"
#include "tools/json_text.h"
#include "tools/open_checkpoint.h"
#include "tools/picture_resize.h"

namespace tern {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr size_t kBatch = 64;  // pictures at once

/// The arguments with directories replaced by the pictures in them.
std::vector<std::string> files_of(const std::vector<std::string>& images) {
  std::vector<std::string> files;
  for (const std::string& image : images) {
    std::error_code error;
    if (!fs::is_directory(image, error)) {
      files.push_back(image);
      continue;
    }
    std::vector<std::string> found;
    for (fs::recursive_directory_iterator it(image, error), end; !error && it != end; it.increment(error))
      if (it->is_regular_file(error) && data::is_picture_name(it->path())) found.push_back(it->path().string());
    if (error) throw DataError(image + ": " + error.message());
    if (found.empty()) throw DataError(image + ": no .jpg, .jpeg or .png file in this directory");
    std::ranges::sort(found);
    files.insert(files.end(), found.begin(), found.end());
  }
  return files;
}

/// What pictures are brought to, and what answers are called.
struct Terms : TrainedOn {
  data::Fit fit;
};

Terms terms_of(const OpenedCheckpoint& checkpoint) {
  const DataConfig& data = checkpoint.config.data;
  return {trained_on(checkpoint), data.name == DataName::folder && data.fit == PictureFit::stretch ? data::Fit::stretch : data::Fit::crop};
}

struct Guess {
  size_t label;
  double probability;
};

/// The `top` classes with the largest logits, by softmax; nothing where a logit is not a number.
std::vector<Guess> guesses(std::span<const float> logits, int top) {
  if (!std::ranges::all_of(logits, [](float v) { return std::isfinite(v); })) return {};
  const double largest = *std::ranges::max_element(logits);
  double sum = 0;
  for (const float v : logits) sum += std::exp(v - largest);
  std::vector<size_t> order(logits.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::stable_sort(order, [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  std::vector<Guess> best;
  for (size_t i = 0; i < std::min(order.size(), static_cast<size_t>(top)); ++i) best.push_back({order[i], std::exp(logits[order[i]] - largest) / sum});
  return best;
}

/// One answered picture, or a bad one.
struct Answer {
  std::string file, error;
  std::vector<Guess> top;
};

ordered_json answer_json(const Answer& answer, const std::vector<std::string>& classes) {
  ordered_json object = {{"file", answer.file}};
  if (!answer.error.empty()) object["error"] = answer.error;
  for (const Guess& g : answer.top) object["top"].push_back({{"class", classes[g.label]}, {"label", g.label}, {"probability", g.probability}});
  return object;
}

void print_answer(const Answer& answer, const std::vector<std::string>& classes) {
  if (!answer.error.empty()) {
    std::fflush(stdout);
    std::fprintf(stderr, "trainer: %s\n", answer.error.c_str());
    return;
  }
  std::printf("%s\n", answer.file.c_str());
  for (const Guess& g : answer.top) std::printf("  %6.2f %%  %s\n", 100 * g.probability, classes[g.label].c_str());
}

/// Reads and answers a batch of files.
std::vector<Answer> answer(Context& context, CompiledStep& step, const Terms& terms, std::span<const std::string> files, int top) {
  const auto [height, width, channels] = terms.pictures;
  std::vector<Answer> answers;
  std::vector<uint8_t> pixels;
  for (const std::string& file : files) {
    answers.push_back({file, "", {}});
    try {
      const data::Picture picture = data::fit_picture(data::read_picture(file), height, width, terms.fit);
      pixels.insert(pixels.end(), picture.rgb.begin(), picture.rgb.end());
    } catch (const DataError& error) {
      answers.back().error = error.what();
    }
  }
  if (pixels.empty()) return answers;
  const auto good = static_cast<int64_t>(pixels.size()) / terms.pictures.bytes();
  const std::vector<float> logits = step({Tensor::from<uint8_t>(context, {good, height, width, channels}, pixels)})[0].to_vector<float>();
  std::span<const float> rest = logits;
  for (Answer& a : answers) {
    if (!a.error.empty()) continue;
    a.top = guesses(rest.first(terms.classes.size()), top);
    rest = rest.subspan(terms.classes.size());
    if (a.top.empty()) a.error = a.file + ": the network's scores are not numbers";
  }
  return answers;
}

}  // namespace

void predict(const PredictArgs& args) {
  const OpenedCheckpoint checkpoint = open_checkpoint(args.checkpoint, args.model);
  const Terms terms = terms_of(checkpoint);
  const std::vector<std::string> files = files_of(args.images);
  Context::Options options;
  options.device = choose_device({.device = args.device});
  options.threads = args.threads;
  Context context(options);
  const auto network = network_of(context, checkpoint, terms.pictures, static_cast<int64_t>(terms.classes.size()));
  network->train(false);
  NoGrad no_grad(context);
  CompiledStep step = evaluation_step(context, *network, {.normalize = checkpoint.config.data.normalize,
                                                          .tta = args.tta});
  ordered_json results = ordered_json::array();
  size_t bad = 0;
  for (size_t first = 0; first < files.size(); first += kBatch) {
    const auto batch = std::span(files).subspan(first, std::min(kBatch, files.size() - first));
    for (const Answer& a : answer(context, step, terms, batch, args.top)) {
      bad += !a.error.empty();
      if (args.json) results.push_back(answer_json(a, terms.classes));
      else print_answer(a, terms.classes);
    }
  }
  if (args.json) std::printf("%s\n", json_text(ordered_json{{"checkpoint", args.checkpoint}, {"pictures", results}}, 2).c_str());
  std::fflush(stdout);
  if (bad > 0) throw DataError(std::to_string(bad) + " of " + std::to_string(files.size()) + " pictures have no answer");
}

}  // namespace tern
