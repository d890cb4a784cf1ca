#include <algorithm>
#include <map>
#include <set>

#include "tests/dist_sim/toy.h"

namespace tern::dist::sim {
namespace {

std::string name_of(const Line& line) {
  return "step " + std::to_string(line.step) + " of incarnation " + std::to_string(line.run_epoch);
}

std::string check_lanes(const Toy& toy, const Line& line) {
  std::vector<int> times(static_cast<size_t>(toy.lanes_of(line.step)));
  for (const Line::Slot& slot : line.slots)
    for (int lane = slot.range.first; lane < slot.range.end(); ++lane) {
      if (lane >= static_cast<int>(times.size())) return name_of(line) + " counts a lane that is not there";
      ++times[static_cast<size_t>(lane)];
    }
  for (size_t lane = 0; lane < times.size(); ++lane)
    if (times[lane] != 1)
      return name_of(line) + " counts lane " + std::to_string(lane) + " " + std::to_string(times[lane]) + " times";
  return "";
}

/// One incarnation's lines: it began at a checkpoint that earlier ones had reached, and took each step once.
std::string check_incarnation(const Toy& toy, const std::vector<const Line*>& lines, int64_t reached, int64_t staleness) {
  std::set<int64_t> taken;
  const int64_t first = (*std::ranges::min_element(lines, {}, [](const Line* line) { return line->step; }))->step;
  if (toy.exact() && first > reached) return name_of(*lines.front()) + ": the steps from " + std::to_string(reached) + " on are lost";
  int64_t oldest = first;  // that is missing
  for (const Line* line : lines) {
    if (!taken.insert(line->step).second) return name_of(*line) + " was taken twice";
    if (toy.exact() && line->step != oldest) return name_of(*line) + " was taken before step " + std::to_string(oldest);
    if (toy.mode == Mode::ssp && line->step - oldest > staleness)
      return name_of(*line) + " is staler than " + std::to_string(staleness) + ": step " + std::to_string(oldest) + " is missing";
    while (taken.contains(oldest)) ++oldest;
  }
  return "";
}

std::string check_digests(const Ledger& ledger, const Ledger& calm) {
  std::map<int64_t, const Line*> before;
  for (const Line& line : ledger) {
    const auto [first, fresh] = before.emplace(line.step, &line);
    const bool same = first->second->gradient == line.gradient && first->second->parameters == line.parameters;
    if (!fresh && !same) return name_of(line) + " gave other digests than in incarnation " + std::to_string(first->second->run_epoch);
  }
  for (const Line& line : ledger) {
    const Line& expected = calm.at(static_cast<size_t>(line.step));
    if (line.gradient != expected.gradient) return name_of(line) + ": the gradient is not that of the calm run";
    if (line.parameters != expected.parameters) return name_of(line) + ": the parameters are not those of the calm run";
  }
  return "";
}

/// Wire::topk, after lanes were dropped: whether the lines follow from each other and from what they say was dropped.
/// Returns the line that does not. `reached`: parameters with which the next incarnation may start, by updates.
const Line* follow(const Toy& toy, const std::vector<const Line*>& lines, Floats values, std::map<int64_t, std::vector<Floats>>& reached) {
  Residuals residuals;
  for (const Line* line : lines) {
    std::set<int> dropped;
    for (const Line::Slot& slot : line->slots)
      if (slot.dropped) dropped.insert(slot.range.first);
    const Floats gradient = toy.step(line->step, values, residuals, dropped);
    toy.update(values, gradient);
    if (digest_of(gradient) != line->gradient || digest_of(values) != line->parameters) return line;
    reached[line->step + 1].push_back(values);
  }
  return nullptr;
}

std::string check_dropped(const Toy& toy, const std::map<uint64_t, std::vector<const Line*>>& incarnations) {
  std::map<int64_t, std::vector<Floats>> reached{{0, {toy.initial()}}};
  for (const auto& [run_epoch, lines] : incarnations) {
    const Line* fault = lines.front();
    for (const Floats& start : std::vector(reached[fault->step])) {
      fault = follow(toy, lines, start, reached);
      if (!fault) break;
    }
    if (fault) return name_of(*fault) + " does not follow from the lines before and the lanes that were dropped";
  }
  return "";
}

}  // namespace

std::string check_ledger(const Toy& toy, const Ledger& ledger, const Ledger& calm, int64_t staleness) {
  std::map<uint64_t, std::vector<const Line*>> incarnations;
  std::set<int64_t> taken;
  int64_t reached = 0;  // all steps before it were taken by some incarnation
  for (const Line& line : ledger) {
    if (line.step < 0 || line.step >= toy.tasks) return name_of(line) + " is not one of the training";
    if (std::string fault = check_lanes(toy, line); !fault.empty()) return fault;
    if (!incarnations.empty() && incarnations.rbegin()->first > line.run_epoch) return name_of(line) + " comes after a later incarnation";
    incarnations[line.run_epoch].push_back(&line);
  }
  for (const auto& [run_epoch, lines] : incarnations) {
    if (std::string fault = check_incarnation(toy, lines, reached, staleness); !fault.empty()) return fault;
    for (const Line* line : lines) taken.insert(line->step);
    while (taken.contains(reached)) ++reached;
  }
  if (reached != toy.tasks) return "step " + std::to_string(reached) + " was never taken";
  if (incarnations.empty()) return "";
  std::set<int64_t> last;  // a training is one run from a checkpoint to its end
  for (const Line* line : incarnations.rbegin()->second) last.insert(line->step);
  if (*last.rbegin() != toy.tasks - 1 || *last.rbegin() - *last.begin() + 1 != static_cast<int64_t>(last.size()))
    return "the last incarnation left out steps";
  const bool dropped = std::ranges::any_of(ledger, [](const Line& line) { return std::ranges::any_of(line.slots, &Line::Slot::dropped); });
  if (dropped) return toy.top_k > 0 ? check_dropped(toy, incarnations) : "what lanes held back was dropped where they hold back nothing";
  return toy.exact() ? check_digests(ledger, calm) : "";
}

}  // namespace tern::dist::sim
