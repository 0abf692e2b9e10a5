#include "deliver/self_access.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>

#include "base/clock.h"
#include "base/fs.h"
#include "base/result.h"
#include "deliver/fuse_session.h"
#include "deliver/mount_point.h"

namespace tb::deliver {
namespace {

/// Takes every read up, and answers none.
class NoAnswer final : public StreamReader {
 public:
  explicit NoAnswer(int asked) : asked_(asked) {}
  std::uint64_t size() const override { return 4096; }
  void read(std::uint64_t, std::size_t, ReadDone) override { (void)!write(asked_, "r", 1); }
  void going_on(std::uint64_t) override {}
  void cancel() override {}

 private:
  int asked_;
};

[[noreturn]] void serve_and_read(const std::string& point, int asked) {
  FuseOptions options;
  options.mount_point = point;
  options.owner = geteuid();
  const FuseSession session(value_or_throw(MountTree::create(std::nullopt, 4096, "model", MountTree::Shape::kBare)),
                            std::make_shared<NoAnswer>(asked), options, [](const Error&) {});
  access_own_mount([&] {
    alignas(4096) static std::array<char, 4096> page;
    const int file = open((point + "/model").c_str(), O_RDONLY | O_DIRECT);
    (void)!read(file, page.data(), page.size());
  });
  _exit(0);
}

TEST(SelfAccess, AProcessThatIsKilledInItEnds) {
  if (access("/dev/fuse", R_OK | W_OK) != 0) GTEST_SKIP() << "there is no /dev/fuse for this user";
  std::string pattern = testing::TempDir() + "/self-access-XXXXXX";
  const std::string point = value_or_throw(prepare_mount_point(mkdtemp(pattern.data()), 0700, geteuid()));
  std::array<int, 2> pipe_ends{};
  ASSERT_EQ(pipe2(pipe_ends.data(), O_CLOEXEC), 0);
  const Fd asked(pipe_ends[0]);
  Fd told(pipe_ends[1]);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) serve_and_read(point, told.get());
  told.reset();
  char byte = 0;
  ASSERT_EQ(read(asked.get(), &byte, 1), 1) << "it has not asked itself";
  usleep(100'000);  // whoever asked sleeps now
  kill(child, SIGKILL);
  bool has_ended = false;
  for (const std::int64_t end = boot_ms_now() + 20'000; !has_ended && boot_ms_now() < end; usleep(10'000)) {
    has_ended = waitpid(child, nullptr, WNOHANG) == child;
  }
  EXPECT_TRUE(has_ended) << "it waits for itself";
  umount2(point.c_str(), MNT_FORCE | MNT_DETACH);
  if (!has_ended) waitpid(child, nullptr, 0);
  rmdir(point.c_str());
}

}  // namespace
}  // namespace tb::deliver
