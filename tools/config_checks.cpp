#include "tools/config_checks.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "tools/config_table.h"
#include "tools/model.h"

namespace tern {
namespace {

using config_table::Place;

std::string number(double v) { return nlohmann::json(v).dump(); }

/// Runs a check that knows no place and throws with the place of `at` in front.
template <class F>
void checked_at(const Place& at, F&& check) {
  try {
    check();
  } catch (const ConfigError& e) {
    at.fail(e.what());
  }
}

void check_schedule(const ScheduleConfig& s, double lr, int epochs, const Place& at) {
  if (s.name == ScheduleName::onecycle) {
    // The default peak fits the default recipe only: whoever picks a schedule picks its peak.
    const nlohmann::json& value = at.document->value;
    const auto pointer = [&](const char* key) {
      std::string p = "/" + at.path + "/" + key;
      std::replace(p.begin(), p.end(), '.', '/');
      return nlohmann::json::json_pointer(p);
    };
    if (value.contains(pointer("name")) && !value.contains(pointer("max_lr"))) {
      at.at("name").fail("onecycle needs max_lr beside it");
    }
    if (s.three_phase && s.pct_start >= 0.5) {
      at.at("pct_start").fail("got " + number(s.pct_start) + ", wanted below 0.5 with three_phase");
    }
    return;
  }
  if (s.name == ScheduleName::cosine && s.min_lr > lr) {
    at.at("min_lr").fail("got " + number(s.min_lr) + ", wanted at most the group's lr " + number(lr));
  }
  if (s.warmup_steps > 0 && s.warmup_epochs > 0) at.at("warmup_epochs").fail("warmup_steps is given too: wanted one");
  if (s.warmup_epochs >= epochs) {
    at.at("warmup_epochs")
        .fail("got " + number(s.warmup_epochs) + ", wanted below train.epochs " + std::to_string(epochs));
  }
}

void check_optim(const Config& c, const Place& root) {
  const Place optim = root.at("optim");
  const bool list = root.document->value.contains("optim") && root.document->value["optim"].is_array();
  check_schedule(c.schedule, c.optim.front().lr, c.train.epochs, root.at("schedule"));
  for (size_t i = 0; i < c.optim.size(); ++i) {
    const OptimConfig& group = c.optim[i];
    const Place at = list ? optim.at(std::to_string(i)) : optim;
    if (group.nesterov && group.momentum == 0.0) at.at("nesterov").fail("needs momentum above 0");
    if (group.schedule) check_schedule(*group.schedule, group.lr, c.train.epochs, at.at("schedule"));
    for (size_t j = 0; j < i; ++j) {
      if (c.optim[j].params != group.params) continue;
      at.at("params").fail("got \"" + group.params + "\", which group " + std::to_string(j) + " has already");
    }
  }
}

/// Height and width of the pictures that a config trains on.
std::array<int, 2> picture_size(const DataConfig& data) {
  if (data.name != DataName::folder) return {32, 32};
  return {data.size.height, data.size.width};
}

void check_model(const Config& c, const Place& root) {
  const bool folder = c.data.name == DataName::folder;  // its classes are known when it is opened
  const int has = c.data.name == DataName::cifar100 ? 100 : 10;
  if (!folder && c.model.classes && *c.model.classes < has) {
    root.at("model.classes")
        .fail("got " + std::to_string(*c.model.classes) + ", but " + std::string(name_of(c.data.name)) + " has " +
              std::to_string(has));
  }
  if (c.model.name == ModelName::layers && c.model.layers.empty()) {
    root.at("model.name").fail("\"layers\" needs the key \"layers\"");
  }
  const auto [height, width] = picture_size(c.data);
  const std::array<int, 3> pictures{height, width, 3};
  if (c.model.input && *c.model.input != pictures) {
    root.at("model.input").fail("wanted " + nlohmann::json(pictures).dump() + ", the pictures of " + std::string(name_of(c.data.name)));
  }
  if (c.model.name != ModelName::layers) return;
  try {
    parse_layers(c.model.layers);
  } catch (const LayerError& error) {
    root.at(error.path).fail(error.problem);
  }
}

void check_data(const Config& c, const Place& root) {
  const Place at = root.at("data");
  const int most = std::ranges::min(picture_size(c.data)) - 1;
  for (size_t i = 0; i < c.data.augment.size(); ++i) {
    const AugmentConfig& augment = c.data.augment[i];
    if (augment.name == AugmentName::crop && augment.pad > most)
      at.at("augment." + std::to_string(i) + ".pad").fail("got " + std::to_string(augment.pad) + ", wanted an integer from 1 to " + std::to_string(most) + ", below the pictures' sides");
  }
  const int64_t step = int64_t{c.train.lanes} * c.train.micro_batch;
  if (c.data.drop_last && c.data.limit && *c.data.limit < step) {
    at.at("limit").fail("got " + std::to_string(*c.data.limit) + ", less than one step of " + std::to_string(step) +
                        " images, which drop_last drops");
  }
}

void check_metric(Metric metric, const Config& c, const Place& at) {
  const bool held_out = metric == Metric::val_loss || metric == Metric::val_acc;
  // A folder may have its own val/: then it is seen when it is opened.
  if (held_out && c.data.val_fraction == 0.0 && c.data.name != DataName::folder) {
    at.fail("got \"" + std::string(name_of(metric)) + "\", which needs data.val_fraction above 0");
  }
}

}  // namespace

void check_config(const Config& c, const StrictJson& document) {
  const Place root{&document, ""};
  check_model(c, root);
  check_data(c, root);
  check_optim(c, root);
  check_metric(c.checkpoint.best, c, root.at("checkpoint.best"));
  if (c.train.early_stop) check_metric(c.train.early_stop->metric, c, root.at("train.early_stop.metric"));
  std::optional<Device> device;
  checked_at(root.at("run.device"), [&] { device = parse_device(c.run.device); });
  if (device) checked_at(root.at("run.precision"), [&] { resolve_precision(c.run.precision, *device); });
}

std::vector<std::string> config_notes(const Config& c) {
  std::vector<std::string> notes;
  for (const OptimConfig& group : c.optim) {
    const ScheduleConfig& s = group.schedule ? *group.schedule : c.schedule;
    const double first = s.max_lr / s.div_factor;
    if (s.name == ScheduleName::onecycle && std::abs(group.lr - first) > 1e-12) {
      notes.push_back("optim.lr " + number(group.lr) +
                      " has no effect: onecycle starts at max_lr / div_factor = " + number(first));
    }
    if (group.frozen_after && *group.frozen_after >= c.train.epochs) {
      notes.push_back("optim.frozen_after " + number(*group.frozen_after) + " is not before the end of the run");
    }
  }
  return notes;
}

}  // namespace tern
