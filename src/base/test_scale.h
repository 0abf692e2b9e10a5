// For tests only: how long the random parts of a test go on. 1 is what the test command runs, .ci/run and
// scripts/soak.sh ask for more (TB_TEST_SCALE).
#pragma once

#include <algorithm>
#include <cstdlib>

namespace tb::test {

inline int scaled(int count) {
  const char* scale = std::getenv("TB_TEST_SCALE");
  return count * std::max(1, scale == nullptr ? 1 : static_cast<int>(std::strtol(scale, nullptr, 10)));
}

}  // namespace tb::test
