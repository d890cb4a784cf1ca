#include "tools/data_synthetic.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "tools/data_file.h"

namespace tern::data {
namespace {

constexpr int kSide = 32;
constexpr int kPlane = kSide * kSide;

enum class Form { kDisc, kSquare, kTriangle, kRing, kCross };

/// Consecutive uniform draws at one picture's key.
class Draws {
 public:
  Draws(uint64_t seed, Split split, int64_t index)
      : key_{.seed = seed,
             .epoch = split == Split::kTrain ? 0u : 1u,
             .sample = static_cast<uint64_t>(index),
             .op = kRngSynthetic} {}
  float uniform(float low, float high) { return low + (high - low) * uniform01(word()); }

 private:
  uint32_t word() {
    if (used_ % 4 == 0) words_ = random4(key_, used_ / 4);
    return words_.v[used_++ % 4];
  }
  RngKey key_;
  Random4 words_{};
  uint32_t used_ = 0;
};

struct Vec2 {
  float x, y;
};

/// A uniform direction without sin and cos, whose last bits differ between C libraries; sqrt is exactly rounded.
Vec2 direction(Draws& draws) {
  while (true) {
    const Vec2 v = {draws.uniform(-1, 1), draws.uniform(-1, 1)};
    const float square = v.x * v.x + v.y * v.y;
    if (square > 1.0f || square < 0.01f) continue;
    const float length = std::sqrt(square);
    return {v.x / length, v.y / length};
  }
}

float norm(float x, float y) { return std::sqrt(x * x + y * y); }

/// Signed distance from a form of half-width `r` around the origin, in pixels; negative inside.
float distance(Form form, Vec2 p, float r) {
  const float ax = std::fabs(p.x), ay = std::fabs(p.y);
  switch (form) {
    case Form::kDisc: return norm(p.x, p.y) - r;
    case Form::kSquare: return std::max(ax, ay) - 0.88f * r;
    case Form::kTriangle: return std::max(0.8660254f * ax + 0.5f * p.y, -p.y) - 0.62f * r;  // equilateral
    case Form::kRing: return std::fabs(norm(p.x, p.y) - 0.78f * r) - 0.26f * r;
    case Form::kCross:
      return std::min(std::max(ax - 1.05f * r, ay - 0.36f * r), std::max(ay - 1.05f * r, ax - 0.36f * r));
  }
  return 0.0f;
}

using Colour = std::array<float, 3>;

Colour colour(Draws& draws) { return {draws.uniform(20, 235), draws.uniform(20, 235), draws.uniform(20, 235)}; }

/// A colour that stands out against `other`, which says nothing about either being the lighter one.
Colour contrasting(Draws& draws, const Colour& other) {
  constexpr float kLeast = 220.0f;  // sum of the three differences
  while (true) {
    const Colour c = colour(draws);
    if (std::fabs(c[0] - other[0]) + std::fabs(c[1] - other[1]) + std::fabs(c[2] - other[2]) >= kLeast) return c;
  }
}

struct Scene {
  Form form;
  bool striped;
  Vec2 centre, axis;   ///< axis: the form's own x direction
  Vec2 stripe, slope;  ///< directions of the stripes' normal and of the background's gradient
  float radius, period, phase, noise, strength;
  Colour ground, paint, second;
};

Scene draw_scene(Draws& draws, int label) {
  Scene s{};
  s.form = static_cast<Form>(label / 2);
  s.striped = label % 2 == 1;
  s.radius = draws.uniform(7.0f, 11.0f);
  s.centre = {draws.uniform(s.radius, kSide - s.radius), draws.uniform(s.radius, kSide - s.radius)};
  s.axis = direction(draws);
  s.stripe = direction(draws);
  s.slope = direction(draws);
  s.period = draws.uniform(3.0f, 5.0f);
  s.phase = draws.uniform(0.0f, s.period);
  s.noise = draws.uniform(3.0f, 18.0f);
  s.strength = draws.uniform(0.0f, 2.0f);
  s.ground = colour(draws);
  s.paint = contrasting(draws, s.ground);
  s.second = contrasting(draws, s.paint);
  return s;
}

/// Writes `count` pictures from `first` on as one file of records.
void write_records(const std::filesystem::path& path, const SyntheticOptions& options, Split split, int64_t first,
                   int64_t count) {
  const std::filesystem::path partial = path.string() + ".part";
  File file = File::create(partial);
  std::array<uint8_t, 1 + 3 * kPlane> record;
  for (int64_t i = first; i < first + count; ++i) {
    record[0] = static_cast<uint8_t>(i % kSyntheticClasses);
    draw_synthetic(options.seed, split, i, std::span(record).subspan(1));
    file.write(record);
  }
  file.commit();
  rename_file(partial, path);
}

void refuse_other_data(const std::filesystem::path& folder, const CifarFormat& format) {
  if (std::filesystem::exists(folder / kSyntheticMarker)) return;
  for (const auto files : {format.train_files, format.test_files}) {
    for (const std::string_view file : files) {
      if (std::filesystem::exists(folder / file)) {
        throw DataError("[synthetic] " + (folder / file).string() +
                        " exists but no file SYNTHETIC beside it: real pictures are not overwritten");
      }
    }
  }
}

}  // namespace

std::string_view synthetic_class(int label) {
  constexpr std::array<std::string_view, kSyntheticClasses> kNames = {
      "disc", "striped disc", "square", "striped square", "triangle", "striped triangle",
      "ring", "striped ring", "cross",  "striped cross"};
  return kNames.at(static_cast<size_t>(label));
}

void draw_synthetic(uint64_t seed, Split split, int64_t index, std::span<uint8_t> planar) {
  if (planar.size() != 3 * kPlane) {
    throw ShapeError("[synthetic] a picture has 3072 bytes but the buffer " + std::to_string(planar.size()));
  }
  Draws draws(seed, split, index);
  const Scene s = draw_scene(draws, static_cast<int>(index % kSyntheticClasses));
  for (int y = 0; y < kSide; ++y) {
    for (int x = 0; x < kSide; ++x) {
      const Vec2 p = {static_cast<float>(x) + 0.5f - s.centre.x, static_cast<float>(y) + 0.5f - s.centre.y};
      const Vec2 own = {p.x * s.axis.x + p.y * s.axis.y, p.y * s.axis.x - p.x * s.axis.y};
      const float cover = std::clamp(0.5f - distance(s.form, own, s.radius), 0.0f, 1.0f);
      const float along = p.x * s.stripe.x + p.y * s.stripe.y + s.phase;
      const float turn = along / s.period - std::floor(along / s.period);
      const Colour& paint = s.striped && turn < 0.5f ? s.second : s.paint;
      const float slope = s.strength * (p.x * s.slope.x + p.y * s.slope.y);
      for (int c = 0; c < 3; ++c) {
        const float clean = s.ground[c] + slope + cover * (paint[c] - s.ground[c] - slope);
        const float value = clean + s.noise * draws.uniform(-1, 1);
        planar[static_cast<size_t>(c * kPlane + y * kSide + x)] =
            static_cast<uint8_t>(std::clamp(value, 0.0f, 255.0f) + 0.5f);
      }
    }
  }
}

std::filesystem::path write_synthetic(const std::filesystem::path& dir, const SyntheticOptions& options) {
  const CifarFormat& format = cifar_format("synthetic");
  const auto files = static_cast<int64_t>(format.train_files.size());
  constexpr int64_t kMost = 10000000;
  if (options.train < files || options.train > kMost || options.train % files != 0) {
    throw ConfigError("[synthetic] train is " + std::to_string(options.train) +
                      ", wanted a multiple of 5 in 5..10000000");
  }
  if (options.test < 1 || options.test > kMost) {
    throw ConfigError("[synthetic] test is " + std::to_string(options.test) + ", wanted 1..10000000");
  }
  const std::filesystem::path folder = dir / format.folder;
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) throw Error("[synthetic] cannot create " + folder.string() + ": " + error.message());
  refuse_other_data(folder, format);

  // The marker comes first: a writer stopped half-way leaves nothing that passes for photographs.
  File marker = File::create(folder / kSyntheticMarker);
  marker.write("Procedural pictures drawn by tern (trainer data synth), not photographs: seed " +
               std::to_string(options.seed) + ", " + std::to_string(options.train) + " for training, " +
               std::to_string(options.test) + " for testing.\n");
  marker.commit();
  File names = File::create(folder / format.names_file);
  for (int label = 0; label < kSyntheticClasses; ++label) names.write(std::string(synthetic_class(label)) + "\n");
  names.commit();
  for (int64_t i = 0; i < files; ++i) {
    write_records(folder / format.train_files[static_cast<size_t>(i)], options, Split::kTrain,
                  i * (options.train / files), options.train / files);
  }
  write_records(folder / format.test_files[0], options, Split::kTest, 0, options.test);
  return folder;
}

}  // namespace tern::data
