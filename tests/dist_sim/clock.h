#pragma once
#include <algorithm>
#include <functional>
#include <vector>

#include "dist/server_core.h"

namespace tern::dist::sim {

/// Virtual time: things happen in the order of their times, those of the same time in the order in which they were said.
class Clock {
 public:
  Millis now() const { return now_; }
  void after(Millis delay, std::function<void()> what) {
    heap_.push_back({now_ + std::max<Millis>(0, delay), order_++, std::move(what)});
    std::ranges::push_heap(heap_, later);
  }
  /// Lets the next thing happen. False: there is none.
  bool step() {
    if (heap_.empty()) return false;
    std::ranges::pop_heap(heap_, later);
    const Event event = std::move(heap_.back());
    heap_.pop_back();
    now_ = event.when;
    ++happened_;
    event.what();
    return true;
  }
  uint64_t happened() const { return happened_; }

 private:
  struct Event {
    Millis when;
    uint64_t order;
    std::function<void()> what;
  };
  static bool later(const Event& a, const Event& b) { return a.when != b.when ? a.when > b.when : a.order > b.order; }

  Millis now_ = 0;
  uint64_t order_ = 0, happened_ = 0;
  std::vector<Event> heap_;
};

}  // namespace tern::dist::sim
