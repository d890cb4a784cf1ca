#include "tools/report_pictures.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

namespace tern {
namespace {

constexpr int64_t kWorst = 32;
constexpr int kLongest = 48;            // pixels: they are small on the page, too
constexpr size_t kSheetBytes = 1200000;  // as PNG; base64 makes 1.6 MB of them, and the page keeps below 2
constexpr int64_t kMostPictures = 1200;

std::vector<Picture> pictures_of(const data::Dataset& data, std::span<const int64_t> chosen) {
  std::vector<Picture> pictures;
  for (const int64_t index : chosen) pictures.push_back(shown_picture(data, index, kLongest));
  return pictures;
}

}  // namespace

std::vector<int64_t> choose_mistakes(const Evaluation& evaluation, int64_t worst, int64_t most) {
  const std::vector<int64_t> all = worst_mistakes(evaluation, static_cast<int64_t>(evaluation.predictions.size()));
  std::vector<int64_t> chosen(all.begin(), all.begin() + std::min<std::ptrdiff_t>(std::min(worst, most), std::ssize(all)));
  const std::set<int64_t> taken(chosen.begin(), chosen.end());
  // Round r takes the r-th worst of each cell, so that no cell stays empty while another has many.
  std::map<std::pair<int32_t, int32_t>, size_t> in_cell;
  std::vector<std::pair<size_t, int64_t>> rounds;
  for (const int64_t i : all) {
    const Prediction& p = evaluation.predictions[static_cast<size_t>(i)];
    const size_t round = in_cell[{p.label, p.predicted}]++;
    if (!taken.contains(i)) rounds.emplace_back(round, i);
  }
  std::ranges::stable_sort(rounds, {}, &std::pair<size_t, int64_t>::first);
  for (const auto& [round, i] : rounds)
    if (std::ssize(chosen) < most) chosen.push_back(i);
  return chosen;
}

Picture smaller(Picture whole, int longest) {
  const int factor = (std::max(whole.height, whole.width) + longest - 1) / longest;
  if (factor <= 1) return whole;
  Picture small(std::max(1, whole.height / factor), std::max(1, whole.width / factor), whole.channels);
  for (int y = 0; y < small.height; ++y)
    for (int x = 0; x < small.width; ++x)
      for (int c = 0; c < small.channels; ++c) {
        int sum = 0, count = 0;
        for (int v = y * factor; v < std::min((y + 1) * factor, whole.height); ++v)
          for (int u = x * factor; u < std::min((x + 1) * factor, whole.width); ++u, ++count) sum += whole.pixels[whole.at(v, u) + static_cast<size_t>(c)];
        small.pixels[small.at(y, x) + static_cast<size_t>(c)] = static_cast<uint8_t>((sum + count / 2) / count);
      }
  return small;
}

Picture shown_picture(const data::Dataset& data, int64_t index, int longest) {
  const data::PictureShape shape = data.shape();
  Picture whole(shape.height, shape.width, shape.channels);
  data.read(index, whole.pixels);
  return smaller(std::move(whole), longest);
}

Picture contact_sheet(std::span<const Picture> pictures, int columns) {
  const Picture& one = pictures.front();
  const int count = static_cast<int>(pictures.size());
  Picture sheet(one.height * ((count + columns - 1) / columns), one.width * columns, one.channels);
  const auto row = static_cast<size_t>(one.width) * static_cast<size_t>(one.channels);
  for (int i = 0; i < count; ++i)
    for (int y = 0; y < one.height; ++y)
      std::copy_n(&pictures[static_cast<size_t>(i)].pixels[one.at(y, 0)], row, &sheet.pixels[sheet.at(i / columns * one.height + y, i % columns * one.width)]);
  return sheet;
}

nlohmann::ordered_json mistakes_json(const Evaluation& evaluation, const data::Dataset& data) {
  constexpr int columns = 20;
  std::vector<int64_t> chosen = choose_mistakes(evaluation, kWorst, kMostPictures);
  if (chosen.empty()) return nullptr;
  // How well pictures compress is known only afterwards: begin as if they did not, shrink or be content.
  const Picture one = shown_picture(data, chosen[0], kLongest);
  const size_t raw = one.pixels.size();
  chosen.resize(std::min(chosen.size(), std::max<size_t>(1, kSheetBytes * 5 / 4 / raw)));
  std::string png = encode_png(contact_sheet(pictures_of(data, chosen), columns));
  while (png.size() > kSheetBytes && chosen.size() > 1) {
    chosen.resize(std::max<size_t>(1, chosen.size() * kSheetBytes / png.size() * 19 / 20));
    png = encode_png(contact_sheet(pictures_of(data, chosen), columns));
  }
  nlohmann::ordered_json items = nlohmann::ordered_json::array();
  for (const int64_t i : chosen) {
    const Prediction& p = evaluation.predictions[static_cast<size_t>(i)];
    const auto finite = [](double v) { return std::isfinite(v) ? nlohmann::ordered_json(std::round(v * 1e4) / 1e4) : nlohmann::ordered_json(nullptr); };
    items.push_back({i, p.label, p.predicted, finite(p.probability), finite(p.loss)});
  }
  return {{"sheet", "data:image/png;base64," + base64(png)}, {"width", one.width}, {"height", one.height}, {"columns", columns},
          {"worst", std::min<int64_t>(kWorst, std::ssize(chosen))}, {"items", items}};
}

bool same_pictures(const Evaluation& evaluation, const data::Dataset& data) {
  if (data.size() != std::ssize(evaluation.predictions)) return false;
  for (int64_t i = 0; i < data.size(); ++i)
    if (data.label(i) != evaluation.predictions[static_cast<size_t>(i)].label) return false;
  return true;
}

}  // namespace tern
