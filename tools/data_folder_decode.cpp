#include <algorithm>
#include <atomic>
#include <fstream>
#include <limits>
#include <memory>
#include <thread>
#include <utility>

#include "tools/data_file.h"
#include "tools/data_folder.h"
#include "tools/exit_codes.h"
#include "tools/interrupt.h"
#include "tools/picture_resize.h"

namespace tern::data {
namespace {

/// The number behind `key` in a file of "key value" lines or, with an empty key, at its beginning.
std::optional<int64_t> number_in(const char* path, const std::string& key) {
  std::ifstream in(path);
  std::string word;
  while (!key.empty() && in >> word && word != key) {
  }
  int64_t value = 0;
  return in >> value ? std::optional(value) : std::nullopt;
}

int64_t free_memory() {
  int64_t bytes = number_in("/proc/meminfo", "MemAvailable:").value_or(int64_t{4} << 20) * 1024;
  // A container's own limit; "max", where there is none, is no number.
  const auto most = number_in("/sys/fs/cgroup/memory.max", ""), used = number_in("/sys/fs/cgroup/memory.current", "");
  if (most && used) bytes = std::min(bytes, std::max<int64_t>(*most - *used, 0));
  return bytes;
}

Fit fit_of(const DataConfig& config) { return config.fit == PictureFit::crop ? Fit::crop : Fit::stretch; }

class FolderDataset : public Dataset {
 public:
  FolderDataset(PictureList list, const DataConfig& config, int64_t& budget)
      : list_(std::move(list)), size_(config.size), fit_(fit_of(config)), errors_(list_.pictures.size()) {
    kept_ = std::min(budget / shape().bytes(), count());
    budget -= kept_ * shape().bytes();
    pixels_ = std::make_unique_for_overwrite<uint8_t[]>(static_cast<size_t>(kept_ * shape().bytes()));
    for (int64_t i = 0; i < count(); ++i) places_.push_back(i);
  }

  std::string_view name() const override { return "folder"; }
  int64_t size() const override { return static_cast<int64_t>(places_.size()); }
  PictureShape shape() const override { return {size_.height, size_.width, 3}; }
  const std::vector<std::string>& classes() const override { return list_.classes; }
  int64_t label(int64_t index) const override { return entry(place(index)).label; }
  std::string where(int64_t index) const override { return entry(place(index)).file.string(); }

  void read(int64_t index, std::span<uint8_t> hwc) const override {
    const int64_t at = place(index);
    if (static_cast<int64_t>(hwc.size()) != shape().bytes())
      throw ShapeError("[folder] a picture has " + std::to_string(shape().bytes()) + " bytes but the buffer " + std::to_string(hwc.size()));
    if (at < kept_) {
      std::copy_n(pixels_.get() + at * shape().bytes(), shape().bytes(), hwc.begin());
    } else {
      std::ranges::copy(fit_picture(read_picture(entry(at).file), size_.height, size_.width, fit_).rgb, hwc.begin());
    }
  }

  /// Files in the list, bad ones included.
  int64_t count() const { return static_cast<int64_t>(list_.pictures.size()); }
  int64_t kept() const { return kept_; }
  /// Decodes file `at`; several threads may, each its own.
  void decode(int64_t at) {
    try {
      if (!is_picture_name(entry(at).file)) throw DataError(entry(at).file.string() + " is not named .jpg, .jpeg or .png");
      const Picture picture = fit_picture(read_picture(entry(at).file), size_.height, size_.width, fit_);
      if (at < kept_) std::ranges::copy(picture.rgb, pixels_.get() + at * shape().bytes());
    } catch (const DataError& error) {
      errors_[static_cast<size_t>(at)] = error.what();
    } catch (const std::bad_alloc&) {
      errors_[static_cast<size_t>(at)] = entry(at).file.string() + " does not fit in memory";
    }
  }
  /// What is wrong with the bad files, which are no pictures of the set any more.
  std::vector<std::string> drop_bad() {
    std::vector<std::string> bad;
    std::erase_if(places_, [&](int64_t at) { return !errors_[static_cast<size_t>(at)].empty(); });
    for (std::string& error : errors_)
      if (!error.empty()) bad.push_back(std::move(error));
    errors_.clear();
    return bad;
  }

 private:
  int64_t place(int64_t index) const {
    if (index < 0 || index >= size()) throw DataError("[folder] picture " + std::to_string(index) + " of " + std::to_string(size()));
    return places_[static_cast<size_t>(index)];
  }
  const PictureList::Entry& entry(int64_t at) const { return list_.pictures[static_cast<size_t>(at)]; }

  PictureList list_;
  PictureSize size_;
  Fit fit_;
  int64_t kept_ = 0;
  std::unique_ptr<uint8_t[]> pixels_;  // of the first kept_ files
  std::vector<int64_t> places_;        // in the list, of the good files
  std::vector<std::string> errors_;    // one a file, empty where it is good
};

/// Every file by some thread; this one counts, too, and reports.
void decode_all(FolderDataset& data, Progress* progress) {
  std::atomic<int64_t> next = 0;
  const auto work = [&](bool reports) {
    for (int64_t i = 0; (i = next++) < data.count() && InterruptGuard::signal() == 0;) {
      data.decode(i);
      if (reports && progress && i % 16 == 0) progress->task("reading pictures", i, data.count());
    }
  };
  std::vector<std::jthread> threads;
  const int64_t cores = std::max(1u, std::thread::hardware_concurrency());
  for (int64_t i = 1; i < std::min(cores, data.count()); ++i) threads.emplace_back(work, false);
  work(true);
  threads.clear();  // joins
  if (progress) progress->finish();
  if (const int signal = InterruptGuard::signal()) throw InterruptedError("interrupted while reading the pictures", signal);
}

std::string named(const std::vector<std::string>& bad) {
  constexpr size_t kMostNamed = 20;
  std::string text;
  for (size_t i = 0; i < std::min(bad.size(), kMostNamed); ++i) text += "\n  " + bad[i];
  if (bad.size() > kMostNamed) text += "\n  ... and " + std::to_string(bad.size() - kMostNamed) + " more";
  return text;
}

}  // namespace

int64_t picture_budget(const DataConfig& config) {
  constexpr int64_t kMebi = int64_t{1} << 20;
  return config.cache_mb ? *config.cache_mb * kMebi : free_memory() / 2;
}

DatasetPtr decode_pictures(PictureList list, const DataConfig& config, int64_t& budget, int64_t& passed_over, Progress* progress) {
  auto data = std::make_shared<FolderDataset>(std::move(list), config, budget);
  decode_all(*data, progress);
  const std::vector<std::string> bad = data->drop_bad();
  passed_over += static_cast<int64_t>(bad.size());
  if (passed_over > config.bad_files)
    throw DataError("[folder] " + config.dir + ": " + std::to_string(passed_over) + " bad files, and data.bad_files allows " +
                    std::to_string(config.bad_files) + ":" + named(bad));
  if (data->size() == 0) throw DataError("[folder] " + config.dir + ": no picture is left:" + named(bad));
  if (progress && !bad.empty()) progress->message("warning: passed over " + std::to_string(bad.size()) + " bad files:" + named(bad));
  if (progress) {
    constexpr int64_t kMebi = int64_t{1} << 20;
    const int64_t bytes = data->shape().bytes();
    std::string text = with_commas(data->size()) + " pictures of " + std::to_string(data->classes().size()) + " classes scaled to " +
                       std::to_string(config.size.height) + " x " + std::to_string(config.size.width) + ": " +
                       with_commas((data->kept() * bytes + kMebi - 1) / kMebi) + " MiB in memory";
    if (data->kept() < data->count())
      text += "; " + with_commas(data->count() - data->kept()) + " more do not fit and are decoded at each use (data.cache_mb)";
    progress->message(text);
  }
  return data;
}

}  // namespace tern::data
