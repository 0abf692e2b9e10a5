// Control groups, on a tree that looks like the kernel's: plain files take what is written, and refuse nothing.
#include "sentinel/runtime/resource_group.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/fs.h"

namespace tb::sentinel::runtime {
namespace {

using testing::HasSubstr;

class ResourceGroups : public testing::Test {
 protected:
  void SetUp() override {
    root_ = testing::TempDir() + "tb-groups-XXXXXX";
    ASSERT_NE(mkdtemp(root_.data()), nullptr);
    put("/proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n");
    put("/proc/self/cgroup", "1:cpu:/x\n0::/system.slice/gate.service\n");
    put(kOwn + "/cgroup.controllers", "cpu memory pids\n");
    put(kOwn + "/cgroup.subtree_control", "\n");
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void put(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  std::string text(const std::string& path) { return read_small_file(path).value_or("(none)"); }

  const std::string kOwn = "/sys/fs/cgroup/system.slice/gate.service";
  std::string root_;
};

TEST_F(ResourceGroups, ADelegatedGroupIsAPlace) {
  EXPECT_EQ(find_group_place(false, root_).directory, root_ + kOwn);
  EXPECT_THAT(text(root_ + kOwn + "/cgroup.subtree_control"), "\n") << "to look is not to change";
  EXPECT_EQ(find_group_place(true, root_).directory, root_ + kOwn);
  EXPECT_THAT(text(root_ + kOwn + "/cgroup.subtree_control"), HasSubstr("+memory"));
}

TEST_F(ResourceGroups, OneThatWeHaveMovedInBeforeIsThePlaceAboveIt) {
  put("/proc/self/cgroup", "0::/system.slice/gate.service/trustbridge-sentinel\n");
  EXPECT_EQ(find_group_place(false, root_).directory, root_ + kOwn);
}

TEST_F(ResourceGroups, WhyThereIsNoneIsSaid) {
  put(kOwn + "/cgroup.controllers", "cpu hugetlb\n");
  EXPECT_THAT(find_group_place(false, root_).fault, HasSubstr("no memory controller"));
  put("/proc/self/cgroup", "4:memory:/x\n");
  EXPECT_THAT(find_group_place(false, root_).fault, HasSubstr("not mounted"));
  put("/proc/self/cgroup", "0::/gone\n");
  EXPECT_THAT(find_group_place(false, root_).fault, HasSubstr("no memory controller"));
  put("/proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw - cgroup cgroup rw,memory\n");
  EXPECT_THAT(find_group_place(false, root_).fault, HasSubstr("not mounted"));
}

TEST_F(ResourceGroups, WithoutFilesForItsLimitsItIsNone) {
  EXPECT_THROW(ResourceGroup(root_ + kOwn, 1 << 30, 100), Error);
  EXPECT_THROW(ResourceGroup(root_ + "/nowhere", 1 << 30, 100), Error);
  for (const auto& entry : std::filesystem::directory_iterator(root_ + kOwn)) {
    EXPECT_FALSE(entry.is_directory()) << "a group was left: " << entry.path();
  }
}

}  // namespace
}  // namespace tb::sentinel::runtime
