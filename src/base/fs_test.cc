#include "base/fs.h"

#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
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
  struct stat st{};
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
  for (const auto aside : {AtomicFile::Aside::kWithoutName, AtomicFile::Aside::kNamed}) {
    {
      auto file = AtomicFile::create(dir_ + "/a", 0600, false, aside).value();
    }
    EXPECT_EQ(entries(), 0U);
  }
}

TEST_F(Fs, AFileThatOthersOpenHasAName) {
  auto file = AtomicFile::create(dir_ + "/a", 0640, false, AtomicFile::Aside::kNamed).value();
  ASSERT_TRUE(write_full(open_file(file.partial_path(), O_WRONLY).value().get(), as_bytes("text"), "it").has_value());
  ASSERT_TRUE(file.commit().has_value());
  EXPECT_EQ(read_small_file(dir_ + "/a").value(), "text");
  EXPECT_EQ(entries(), 1U);
}

TEST_F(Fs, ModeIsWhatWasAskedFor) {
  const mode_t before = umask(077);
  for (const bool replace : {false, true}) {
    ASSERT_TRUE(write_file_atomically(dir_ + "/a", "text", 0644, replace).has_value());
    struct stat st{};
    ASSERT_EQ(stat((dir_ + "/a").c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 07777, 0644U);
  }
  umask(before);
}

TEST_F(Fs, AKilledWriterLeavesNothing) {
  struct statfs on{};
  ASSERT_EQ(statfs(dir_.c_str(), &on), 0);
  if (on.f_type != EXT4_SUPER_MAGIC && on.f_type != TMPFS_MAGIC) {
    GTEST_SKIP() << "NOT PROVEN: " << dir_ << " is on neither ext4 nor tmpfs";
  }
  const pid_t child = fork();
  if (child == 0) {
    auto file = AtomicFile::create(dir_ + "/a", 0600, false).value();
    (void)write_full(file.fd(), as_bytes("half of it"), "a");
    raise(SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFSIGNALED(status));
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

/// What a process of another user says of the file; only root can ask.
std::string refusal_as_user(const std::string& path, uid_t uid) {
  std::array<int, 2> ends{};
  if (pipe(ends.data()) != 0) return "no pipe";
  const pid_t child = fork();
  if (child == 0) {
    if (setgroups(0, nullptr) != 0 || setresgid(uid, uid, uid) != 0 || setresuid(uid, uid, uid) != 0) _exit(1);
    const auto content = read_secret_file(path);
    const std::string said = content ? "" : content.error().reason;
    _exit(write(ends[1], said.data(), said.size()) == static_cast<ssize_t>(said.size()) ? 0 : 1);
  }
  close(ends[1]);
  std::string out(64, '\0');
  const ssize_t got = read(ends[0], out.data(), out.size());
  close(ends[0]);
  int status = 0;
  if (waitpid(child, &status, 0) != child || status != 0 || got < 0) return "the child failed";
  out.resize(static_cast<std::size_t>(got));
  return out;
}

TEST_F(Fs, ASecretThatRootHandsToOurGroupIsPrivate) {
  if (geteuid() != 0) GTEST_SKIP() << "NOT PROVEN: only root can hand a file to another user";
  constexpr uid_t kUser = 65532;
  const auto path = dir_ + "/token";
  ASSERT_TRUE(write_file_atomically(path, "t", 0440, false).has_value());
  ASSERT_EQ(chown(path.c_str(), 0, kUser), 0);
  ASSERT_EQ(chmod(dir_.c_str(), 0755), 0);
  EXPECT_EQ(refusal_as_user(path, kUser), "");
  EXPECT_EQ(read_secret_file(path).error().reason, "file_mode_unsafe");  // root's own is as strict as anybody's
  for (const mode_t mode : {0460U, 0444U, 0442U, 0450U}) {
    ASSERT_EQ(chmod(path.c_str(), mode), 0);
    EXPECT_EQ(refusal_as_user(path, kUser), "file_mode_unsafe") << std::oct << mode;
  }
  // The same bits on a file of the user's own tell of a careless user.
  ASSERT_EQ(chown(path.c_str(), kUser, kUser), 0);
  ASSERT_EQ(chmod(path.c_str(), 0440), 0);
  EXPECT_EQ(refusal_as_user(path, kUser), "file_mode_unsafe");
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
