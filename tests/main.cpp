/// The runner of tern_tests. Exit codes: 0 passed, 1 failed, 77 every selected test was skipped (CTest shows "Skipped").
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#define CATCH_CONFIG_RUNNER
#include <catch2/catch.hpp>
#endif
#include <cstdint>

namespace tern::test {
namespace {
uint64_t skipped_cases = 0;
uint64_t run_cases = 0;
}  // namespace

void note_skipped() { ++skipped_cases; }

namespace {
#if __has_include(<catch2/catch_all.hpp>)
using ListenerBase = Catch::EventListenerBase;
#else
using ListenerBase = Catch::TestEventListenerBase;
#endif

/// Catch2's own count of skipped cases; versions before 3.3 have none.
template <class Counts>
uint64_t skipped(const Counts& counts) {
  if constexpr (requires { counts.skipped; }) return counts.skipped;
  return 0;
}

struct SkipListener : ListenerBase {
  using ListenerBase::ListenerBase;
  void testRunEnded(const Catch::TestRunStats& stats) override {
    run_cases = stats.totals.testCases.total();
    skipped_cases += skipped(stats.totals.testCases);
  }
};
}  // namespace
}  // namespace tern::test

using tern::test::SkipListener;
CATCH_REGISTER_LISTENER(SkipListener)

int main(int argc, char** argv) {
  Catch::Session session;
  if (const int usage = session.applyCommandLine(argc, argv); usage != 0) return usage;
  const int code = session.run();
  const bool all_skipped = tern::test::run_cases > 0 && tern::test::skipped_cases == tern::test::run_cases;
  // Catch2's own code is a number of failures, so 4 or 77 failures must not read as "skipped".
  if (all_skipped) return 77;
  return code == 0 ? 0 : 1;
}
