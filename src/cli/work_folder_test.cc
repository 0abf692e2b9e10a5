#include "cli/work_folder.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "base/error.h"

namespace tb::cli {
namespace {

namespace fs = std::filesystem;

class WorkFolderTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "work-folder-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    parent_ = pattern;
  }
  void TearDown() override { fs::remove_all(parent_); }

  std::set<std::string> names() const {
    std::set<std::string> out;
    for (const auto& entry : fs::directory_iterator(parent_)) out.insert(entry.path().filename().string());
    return out;
  }

  std::string parent_;
};

TEST_F(WorkFolderTest, GoesWithTheObjectAndIsForItsUserOnly) {
  {
    const WorkFolder one(parent_), two(parent_);
    EXPECT_EQ(names().size(), 2U) << "the second has not taken the first for abandoned";
    struct stat seen{};
    ASSERT_EQ(stat(one.path().c_str(), &seen), 0);
    EXPECT_EQ(seen.st_mode & 07777, 0700U);
    std::ofstream(two.path() + "/layer") << "bytes";
  }
  EXPECT_TRUE(names().empty());
}

TEST_F(WorkFolderTest, WhatAKilledCommandLeftIsRemovedByTheNext) {
  const pid_t killed = fork();
  ASSERT_GE(killed, 0);
  if (killed == 0) {
    const WorkFolder left(parent_);
    std::ofstream(left.path() + "/layer") << "bytes";
    _exit(0);  // without a destructor
  }
  int status = 0;
  ASSERT_EQ(waitpid(killed, &status, 0), killed);
  ASSERT_EQ(names().size(), 1U);
  const WorkFolder next(parent_);
  EXPECT_EQ(names(), std::set<std::string>{fs::path(next.path()).filename().string()});
}

TEST_F(WorkFolderTest, NothingElseIsTouched) {
  fs::create_directory(parent_ + "/elsewhere");
  std::ofstream(parent_ + "/elsewhere/file") << "kept";
  fs::create_directory(parent_ + "/trustbridge-other");
  std::ofstream(parent_ + "/trustbridge-work-file") << "kept";
  fs::create_directory_symlink(parent_ + "/elsewhere", parent_ + "/trustbridge-work-link");
  auto kept = names();
  if (geteuid() == 0) {
    const std::string foreign = parent_ + "/trustbridge-work-foreign";
    fs::create_directory(foreign);
    ASSERT_EQ(chown(foreign.c_str(), 65534, 65534), 0);
    kept.insert("trustbridge-work-foreign");
  }
  {
    const WorkFolder work(parent_);
  }
  EXPECT_EQ(names(), kept);
  EXPECT_TRUE(fs::exists(parent_ + "/elsewhere/file"));
}

TEST_F(WorkFolderTest, SaysWhereNoneCanBeMade) {
  try {
    const WorkFolder none(parent_ + "/missing");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.reason, "file_not_found");
  }
}

}  // namespace
}  // namespace tb::cli
