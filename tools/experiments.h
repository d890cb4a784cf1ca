#pragma once
#include "tools/session.h"

namespace tern {

/// `trainer CONFIG --epochs A..B` or a list: one separate training for each number of epochs, in DIR/epochs-NNN, and
/// DIR/experiments.csv (epochs, seconds, seconds per epoch, accuracy, peak memory). A training that fails is reported,
/// has its error in the table, and is passed over. `--seeds A..B` does the same over seeds and prints mean, deviation
/// and the 95 % confidence interval of the mean. Returns the exit code.
int run_experiments(const TrainArgs& args, const Config& config, const std::filesystem::path& folder,
                    std::span<const char* const> argv, Progress& progress);

/// Mean, sample deviation and the 95 % interval of the mean by Student's t.
struct SampleStatistics {
  int64_t count = 0;
  double mean = 0, deviation = 0, low = 0, high = 0;
};
SampleStatistics sample_statistics(std::span<const double> values);

}  // namespace tern
