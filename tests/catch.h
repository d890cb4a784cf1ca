#pragma once
/// Catch2 for every test, version 2 or 3: the same macros, `Approx` in scope, `SKIP("why")`, and `HasText("part")`.
/// Precompiled for tern_tests.
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
#else
#include <catch2/catch.hpp>
#endif
#include <string>

namespace tern::test {

/// Matches a string that contains `part`: `REQUIRE_THROWS_WITH(f(), HasText("[conv2d]"))`.
inline auto HasText(const std::string& part) {
#if __has_include(<catch2/catch_all.hpp>)
  return Catch::Matchers::ContainsSubstring(part);
#else
  return Catch::Matchers::Contains(part);
#endif
}

/// Called by SKIP where Catch2 (before 3.3) has no count of its own; main.cpp reads it.
void note_skipped();

}  // namespace tern::test

using tern::test::HasText;

#ifndef SKIP
/// Leaves the test case and says why. Use it at the top level of a TEST_CASE only.
#define SKIP(reason)             \
  do {                           \
    WARN("skipped: " << reason); \
    tern::test::note_skipped();  \
    return;                      \
  } while (false)
#endif
