#include "base/memory.h"

#include <gtest/gtest.h>

namespace tb {
namespace {

TEST(Memory, ReadsWhatIsAvailable) {
  EXPECT_EQ(meminfo_available("MemTotal:  100 kB\nMemAvailable:    42 kB\n"), 42U * 1024);
  EXPECT_EQ(meminfo_available("MemTotal:  100 kB\n"), std::nullopt);
  EXPECT_EQ(meminfo_available("MemAvailable: much\n"), std::nullopt);
}

TEST(Memory, RoomInACgroupIsLimitLessUseWithoutFileCache) {
  EXPECT_EQ(cgroup_room("1000\n", "600\n", "anon 500\ninactive_file 100\n"), 500U);
  EXPECT_EQ(cgroup_room("1000\n", "1200\n", "inactive_file 0\n"), 0U);
  EXPECT_EQ(cgroup_room("1000\n", "600\n", ""), 400U);
  EXPECT_EQ(cgroup_room("max\n", "600\n", ""), std::nullopt);
  EXPECT_EQ(cgroup_room("", "", ""), std::nullopt);
}

TEST(Memory, ThisMachineHasSome) {
  ASSERT_TRUE(memory_available());
  EXPECT_GT(*memory_available(), 1U << 20);
}

}  // namespace
}  // namespace tb
