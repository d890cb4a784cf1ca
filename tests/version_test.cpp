#include "core/version.h"

#include "tests/catch.h"

TEST_CASE("version: the release has three numbers and the revision is known", "[build]") {
  int dots = 0;
  for (char c : tern::version()) dots += c == '.';
  CHECK(dots == 2);
  CHECK_FALSE(tern::git_revision().empty());
}
