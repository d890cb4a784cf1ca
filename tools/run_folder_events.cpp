// What a run folder keeps for TensorBoard.
#include <algorithm>

#include "tools/report_pictures.h"
#include "tools/run_folder.h"

namespace tern {
namespace {

constexpr const char* kTensorBoard = "tb";

}  // namespace

void RunFolder::open_events(const Config& config) {
  if (!log_config_.tensorboard) return;
  const bool fresh = !holds_events(path_ / kTensorBoard);
  events_.emplace(path_ / kTensorBoard);
  if (fresh) events_->text(0, "config", "```\n" + config_json(config) + "\n```");
}

void RunFolder::rewind_events(int64_t step) {
  events_.reset();
  tern::rewind_events(path_ / kTensorBoard, step);
}

void RunFolder::add_events(const EpochMetrics& m, const EpochTiming& t) {
  if (!events_) return;
  std::vector<std::pair<std::string_view, double>> values{
      {"epoch", static_cast<double>(m.epoch)}, {"loss/train", m.train_loss}, {"loss/test", m.test_loss}, {"accuracy/train", m.train_acc}, {"accuracy/test", m.test_acc},
      {"lr", m.lr}, {"speed/seconds", m.seconds}, {"speed/images_per_s", m.images_per_s}, {"speed/data_wait", m.data_wait}, {"memory/peak_rss", static_cast<double>(m.peak_rss)},
      {"timing/data", t.data}, {"timing/forward", t.forward}, {"timing/backward", t.backward}, {"timing/optimizer", t.optimizer}, {"timing/eval", t.eval}};
  if (m.val_loss) values.emplace_back("loss/val", *m.val_loss);
  if (m.val_acc) values.emplace_back("accuracy/val", *m.val_acc);
  if (m.gpu_util) values.emplace_back("speed/gpu_util", *m.gpu_util);
  if (m.gpu_mem) values.emplace_back("memory/gpu_mem", static_cast<double>(*m.gpu_mem));
  events_->scalars(m.step, values);
  wrote(kTensorBoard, events_->good());
}

void RunFolder::add_events(const StepRecord& s) {
  if (!events_) return;
  events_->scalars(s.step, {{"steps/loss", s.loss}, {"steps/accuracy", s.accuracy}, {"steps/lr", s.lr}, {"steps/grad_norm", s.grad_norm}, {"steps/images_per_s", s.images_per_s}});
  wrote(kTensorBoard, events_->good());
}

void RunFolder::write_training_pictures(const data::Batch& batch, const data::PictureShape& shape, int64_t step) {
  if (!events_) return;
  constexpr int kLongest = 96, kColumns = 8;
  std::vector<Picture> pictures;
  const auto bytes = static_cast<size_t>(shape.bytes());
  for (size_t i = 0; i < static_cast<size_t>(batch.size()); ++i) {
    Picture picture(shape.height, shape.width, shape.channels);
    std::copy_n(&batch.images[i * bytes], bytes, picture.pixels.data());
    pictures.push_back(smaller(std::move(picture), kLongest));
  }
  events_->image(step, "pictures/first step", contact_sheet(pictures, std::min(kColumns, static_cast<int>(pictures.size()))));
  wrote(kTensorBoard, events_->good());
}

void RunFolder::write_mistakes(const Evaluation& evaluation, const data::Dataset& data, int64_t step) {
  if (!events_) return;
  constexpr int64_t kPictures = 16;
  constexpr int kLongest = 256;
  EventWriter events(path_ / kTensorBoard, ".mistakes");
  int place = 0;
  for (const int64_t i : worst_mistakes(evaluation, kPictures)) {
    const Prediction& p = evaluation.predictions[static_cast<size_t>(i)];
    const auto name = [&](int32_t label) { return label < 0 ? std::string("nothing") : evaluation.classes[static_cast<size_t>(label)]; };
    const std::string number = std::to_string(++place);
    events.image(step, "mistakes/" + std::string(number.size() < 2, '0') + number + " " + name(p.label) + " taken for " + name(p.predicted), shown_picture(data, i, kLongest));
  }
}

}  // namespace tern
