// spec: wire 2.3: directories of ours, and what is wiped.
#include "deliver/wipe.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/crypto.h"

namespace tb::deliver {
namespace {

namespace fs = std::filesystem;

class Wipe : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = "/dev/shm/tb-wipe-" + random_token(9);
    fs::create_directory(dir_);
    fd_ = value_or_throw(open_file(dir_, O_RDONLY | O_DIRECTORY));
  }
  void TearDown() override { fs::remove_all(dir_); }
  void write(const std::string& name, std::string_view text) {
    fs::create_directories(fs::path(dir_ + "/" + name).parent_path());
    std::ofstream(dir_ + "/" + name) << text;
  }

  std::string dir_;
  Fd fd_;
};

TEST_F(Wipe, FileIsOverwrittenForThoseWhoHaveItMapped) {
  write("w", std::string(10000, 's'));
  const Fd held = value_or_throw(open_file(dir_ + "/w", O_RDONLY));
  ASSERT_TRUE(wipe_file_at(fd_.get(), "w"));
  EXPECT_FALSE(fs::exists(dir_ + "/w"));
  Bytes left(10);
  EXPECT_EQ(value_or_throw(pread_full(held.get(), left, 0, "held")), 0U) << "the bytes are gone from the inode too";
}

TEST_F(Wipe, TreeGoesWithAllItHolds) {
  write("t/a", "1");
  write("t/sub/deep/b", "2");
  chmod((dir_ + "/t/a").c_str(), 0400);
  chmod((dir_ + "/t/sub/deep").c_str(), 0500);
  chmod((dir_ + "/t").c_str(), 0500);
  ASSERT_TRUE(wipe_tree_at(fd_.get(), "t"));
  EXPECT_FALSE(fs::exists(dir_ + "/t"));
  EXPECT_TRUE(wipe_tree_at(fd_.get(), "t")) << "absent is success";
}

TEST_F(Wipe, LinksAreRemovedAndNotFollowed) {
  write("outside/precious", "stays");
  fs::create_directory(dir_ + "/t");
  fs::create_symlink(dir_ + "/outside/precious", dir_ + "/t/link");
  fs::create_directory_symlink(dir_ + "/outside", dir_ + "/t/dirlink");
  ASSERT_TRUE(wipe_tree_at(fd_.get(), "t"));
  EXPECT_FALSE(fs::exists(dir_ + "/t"));
  std::ifstream in(dir_ + "/outside/precious");
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(in), {}), "stays");
}

TEST_F(Wipe, FifoInATreeDoesNotBlock) {
  fs::create_directory(dir_ + "/t");
  ASSERT_EQ(mkfifo((dir_ + "/t/pipe").c_str(), 0600), 0);
  ASSERT_TRUE(wipe_tree_at(fd_.get(), "t"));
  EXPECT_FALSE(fs::exists(dir_ + "/t"));
}

TEST_F(Wipe, OwnedDirectoryIsMadeWithItsMode) {
  ASSERT_TRUE(open_owned_dir(dir_ + "/a/b/c", 0700));
  EXPECT_EQ(fs::status(dir_ + "/a/b/c").permissions(), fs::perms(0700));
  EXPECT_EQ(fs::status(dir_ + "/a").permissions(), fs::perms(0711));
}

std::string refusal(const std::string& path) {
  auto opened = open_owned_dir(path, 0711);
  return opened ? "" : opened.error().reason;
}

TEST_F(Wipe, UnsafeDirectoriesAreRefused) {
  write("file", "x");
  fs::create_directory(dir_ + "/open");
  chmod((dir_ + "/open").c_str(), 0777);
  fs::create_directory(dir_ + "/real");
  fs::create_directory_symlink(dir_ + "/real", dir_ + "/link");
  EXPECT_EQ(refusal(dir_ + "/file"), "path_unsafe");
  EXPECT_EQ(refusal(dir_ + "/open"), "path_unsafe");
  EXPECT_EQ(refusal(dir_ + "/link"), "path_unsafe");
  EXPECT_EQ(refusal(dir_ + "/real/../real"), "path_unsafe");
  EXPECT_EQ(refusal("relative"), "path_unsafe");
  EXPECT_EQ(refusal("/dev/shm"), "path_unsafe") << "everybody can write there";
  EXPECT_EQ(refusal(dir_ + "/link/below"), "") << "a link of ours on the way is followed";
  if (geteuid() == 0) {
    fs::create_directory(dir_ + "/other");
    ASSERT_EQ(chown((dir_ + "/other").c_str(), 12345, 12345), 0);
    EXPECT_EQ(refusal(dir_ + "/other"), "path_unsafe");
    fs::create_directory_symlink(dir_ + "/real", dir_ + "/theirs");
    ASSERT_EQ(lchown((dir_ + "/theirs").c_str(), 12345, 12345), 0);
    EXPECT_EQ(refusal(dir_ + "/theirs/below"), "path_unsafe");
  }
}

}  // namespace
}  // namespace tb::deliver
