// dist_sim_planted PLANT SEEDS: runs the simulator with a planted bug (plants.h) until it is found. Exit code 0: it was
// found (or, for "none", nothing was); 1: it was not; 2: no such bug.
#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "tests/dist_sim/plants.h"
#include "tests/dist_sim/world.h"

using namespace tern::dist::sim;

int main(int count, char** arguments) {
  if (count != 3) return 2;
  const auto plant = std::ranges::find(kPlants, std::string_view(arguments[1]));
  if (plant == kPlants.end()) return 2;
  the_plant = static_cast<Plant>(plant - kPlants.begin());
  const uint64_t seeds = std::strtoull(arguments[2], nullptr, 10);
  Totals totals;
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    const std::string fault = run_seed(seed, totals);
    if (fault.empty()) continue;
    std::printf("%s\n", fault.c_str());
    return planted(Plant::none) ? 1 : 0;
  }
  return planted(Plant::none) ? 0 : 1;
}
