#include "base/fs.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

namespace tb {
namespace {

class Fs : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "tb-fs-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    dir_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  std::size_t entries() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(dir_), {}));
  }
  std::string dir_;
};

TEST_F(Fs, AtomicWriteLeavesModeAndContent) {
  const auto path = dir_ + "/a";
  ASSERT_TRUE(write_file_atomically(path, "hello", 0600, false).has_value());
  EXPECT_EQ(read_small_file(path).value(), "hello");
  struct stat st {};
  ASSERT_EQ(stat(path.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0600U);
  EXPECT_EQ(entries(), 1U);
}

TEST_F(Fs, ExistingOutputIsRefusedUnlessReplaced) {
  const auto path = dir_ + "/a";
  ASSERT_TRUE(write_file_atomically(path, "one", 0600, false).has_value());
  EXPECT_EQ(write_file_atomically(path, "two", 0600, false).error().reason, "output_exists");
  EXPECT_EQ(read_small_file(path).value(), "one");
  EXPECT_TRUE(write_file_atomically(path, "two", 0600, true).has_value());
  EXPECT_EQ(read_small_file(path).value(), "two");
}

TEST_F(Fs, OutputThatAppearsMeanwhileIsRefusedAtCommit) {
  const auto path = dir_ + "/a";
  {
    auto file = AtomicFile::create(path, 0600, false).value();
    ASSERT_TRUE(write_file_atomically(path, "other", 0600, false).has_value());
    EXPECT_EQ(file.commit().error().reason, "output_exists");
  }
  EXPECT_EQ(read_small_file(path).value(), "other");
  EXPECT_EQ(entries(), 1U);
}

TEST_F(Fs, DroppedFileLeavesNothing) {
  { auto file = AtomicFile::create(dir_ + "/a", 0600, false).value(); }
  EXPECT_EQ(entries(), 0U);
}

TEST_F(Fs, ReadsAreBounded) {
  const auto path = dir_ + "/a";
  ASSERT_TRUE(write_file_atomically(path, std::string(70000, 'x'), 0600, false).has_value());
  EXPECT_EQ(read_small_file(path, 70000).value().size(), 70000U);
  EXPECT_EQ(read_small_file(path, 69999).error().reason, "file_too_large");
  EXPECT_EQ(read_small_file(dir_ + "/none").error().reason, "file_not_found");
}

TEST_F(Fs, SecretFileMustBePrivate) {
  const auto path = dir_ + "/key";
  ASSERT_TRUE(write_file_atomically(path, "k", 0640, false).has_value());
  EXPECT_EQ(read_secret_file(path).error().reason, "file_mode_unsafe");
  ASSERT_EQ(chmod(path.c_str(), 0600), 0);
  EXPECT_EQ(read_secret_file(path).value().reveal(), "k");
}

TEST_F(Fs, FullDiskIsItsOwnError) {
  const auto full = open_file("/dev/full", O_WRONLY);
  ASSERT_TRUE(full.has_value());
  EXPECT_EQ(write_full(full->get(), as_bytes("x"), "/dev/full").error().reason, "disk_full");
}

TEST_F(Fs, MakeDirectories) {
  EXPECT_TRUE(make_directories(dir_ + "/x/y/z", 0700).has_value());
  EXPECT_TRUE(make_directories(dir_ + "/x/y/z", 0700).has_value());
  ASSERT_TRUE(write_file_atomically(dir_ + "/f", "", 0600, false).has_value());
  EXPECT_FALSE(make_directories(dir_ + "/f", 0700).has_value());
}

}  // namespace
}  // namespace tb
