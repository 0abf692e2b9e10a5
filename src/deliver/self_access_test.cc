#include "deliver/self_access.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <optional>
#include <thread>

#include "base/clock.h"
#include "base/fs.h"
#include "base/memory.h"
#include "base/result.h"
#include "deliver/fuse_session.h"
#include "deliver/mount_point.h"
#include "deliver/test_chunks.h"

namespace tb::deliver {
namespace {

constexpr std::size_t kBytes = 65536;

/// Takes every read up, and answers none.
class NoAnswer final : public StreamReader {
 public:
  explicit NoAnswer(int asked) : asked_(asked) {}
  std::uint64_t size() const override { return kBytes; }
  void read(std::uint64_t, std::size_t, ReadDone) override {
    was_asked = true;
    (void)!write(asked_, "r", 1);
  }
  void going_on(std::uint64_t) override {}
  void cancel() override {}

  std::atomic<bool> was_asked = false;

 private:
  int asked_;
};

struct Served {
  Served(const std::string& point, int asked) : reader(std::make_shared<NoAnswer>(asked)) {
    FuseOptions options;
    options.mount_point = point;
    options.owner = geteuid();
    options.most_pushes = 2;
    session.emplace(value_or_throw(MountTree::create(std::nullopt, kBytes, "model", MountTree::Shape::kBare)), reader,
                    options, [](const Error&) {});
  }
  std::shared_ptr<NoAnswer> reader;
  std::optional<FuseSession> session;
};

void read_own(const std::string& point, int flags) {
  access_own_mount([&] {
    alignas(4096) static std::array<char, 4096> page;
    const auto file = static_cast<int>(syscall(SYS_openat, AT_FDCWD, (point + "/model").c_str(), O_RDONLY | flags, 0));
    (void)!syscall(SYS_read, file, page.data(), page.size());
  });
}

/// Whether a process that does `work`, killed when it has written `signs` bytes, ends.
bool ends_when_killed(std::size_t signs, const std::function<void(const std::string& point, int asked)>& work) {
  std::string pattern = testing::TempDir() + "/self-access-XXXXXX";
  const std::string point = value_or_throw(prepare_mount_point(mkdtemp(pattern.data()), 0700, geteuid()));
  std::array<int, 2> pipe_ends{};
  if (pipe2(pipe_ends.data(), O_CLOEXEC) != 0) throw error_from_errno(errno, "pipe");
  const Fd asked(pipe_ends[0]);
  Fd told(pipe_ends[1]);
  const pid_t child = fork();
  if (child == 0) {
    work(point, told.get());
    _exit(0);
  }
  told.reset();
  for (char byte = 0; signs != 0 && read(asked.get(), &byte, 1) == 1;) --signs;
  EXPECT_EQ(signs, 0U) << "it has not come so far";
  usleep(100'000);  // whoever asked sleeps now
  kill(child, SIGKILL);
  bool has_ended = false;
  for (const std::int64_t end = boot_ms_now() + 20'000; !has_ended && boot_ms_now() < end; usleep(10'000)) {
    has_ended = waitpid(child, nullptr, WNOHANG) == child;
  }
  umount2(point.c_str(), MNT_FORCE | MNT_DETACH);
  if (!has_ended) waitpid(child, nullptr, 0);
  rmdir(point.c_str());
  return has_ended;
}

TEST(SelfAccess, AProcessThatIsKilledInItEnds) {
  if (access("/dev/fuse", R_OK | W_OK) != 0) GTEST_SKIP() << "there is no /dev/fuse for this user";
  EXPECT_TRUE(ends_when_killed(1, [](const std::string& point, int asked) {
    const Served served(point, asked);
    read_own(point, O_DIRECT);
  })) << "it waits for itself";
}

TEST(SelfAccess, AProcessThatIsKilledWhileItPushesEnds) {
  if (access("/dev/fuse", R_OK | W_OK) != 0) GTEST_SKIP() << "there is no /dev/fuse for this user";
  if (memory_available().value_or(0) < PagePusher::kLeastFreeMemory) GTEST_SKIP() << "NOT PROVEN: memory is short";
  EXPECT_TRUE(ends_when_killed(2, [](const std::string& point, int asked) {
    Served served(point, asked);
    ChunkCache cache(std::make_shared<test::TestChunks>(kBytes, kBytes), 1);
    cache.put(0, test::plain(0, kBytes));
    const std::thread reader([&] { read_own(point, 0); });
    while (!served.reader->was_asked) usleep(1000);
    served.session->push(*cache.find(0), std::chrono::milliseconds(0));  // waits for the page that is being read
    usleep(200'000);
    (void)!write(asked, "p", 1);
    pause();
  })) << "it waits for itself";
}

}  // namespace
}  // namespace tb::deliver
