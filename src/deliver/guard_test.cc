#include "deliver/guard.h"

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "base/crypto.h"
#include "base/fs.h"
#include "deliver/mount_namespace.h"

namespace tb::deliver {
namespace {

std::string refusal(const Result<>& result) {
  return result ? "" : result.error().reason;
}

TEST(Guard, AcceptsMemoryAlsoForWhatIsNotThereYet) {
  EXPECT_EQ(refusal(require_memory("/dev/shm")), "");
  EXPECT_EQ(refusal(require_memory("/dev/shm/not/there/yet")), "");
}

TEST(Guard, RefusesADisk) {
  EXPECT_EQ(refusal(require_memory(TB_SOURCE_DIR)), "plaintext_on_disk");
  EXPECT_EQ(refusal(require_memory(std::string(TB_SOURCE_DIR) + "/not/there")), "plaintext_on_disk");
  EXPECT_EQ(refusal(require_memory("/proc")), "plaintext_on_disk");
  EXPECT_EQ(refusal(require_memory(std::string("/dev/shm/") + std::string(300, 'x'))), "io_error");
}

TEST(Guard, RefusesADiskUnderTheNameOfMemory) {
  // What some clusters make of `medium: Memory`: the mount is there, and a disk.
  if (!enter_mount_namespace()) GTEST_SKIP() << "needs CAP_SYS_ADMIN";
  const std::string place = "/dev/shm/tb-guard-" + random_token(9);
  std::filesystem::create_directory(place);
  ASSERT_EQ(refusal(require_memory(place)), "");
  ASSERT_EQ(mount(TB_SOURCE_DIR, place.c_str(), nullptr, MS_BIND, nullptr), 0);
  EXPECT_EQ(refusal(require_memory(place)), "plaintext_on_disk");
  EXPECT_EQ(refusal(require_memory(place + "/model")), "plaintext_on_disk");
  ASSERT_EQ(umount2(place.c_str(), MNT_DETACH), 0);
  std::filesystem::remove(place);
}

TEST(Guard, NoFileSystemOfOthersPassesForOurFuse) {
  EXPECT_EQ(refusal(require_own_fuse("/dev/shm", "tmpfs")), "plaintext_on_disk");
  EXPECT_EQ(refusal(require_own_fuse("/not/there", "trustbridge")), "plaintext_on_disk");
}

Kernel with_swap() {
  Kernel kernel;
  kernel.swap_device = "/dev/sda2";
  return kernel;
}

TEST(Guard, SwapIsRefusedAndNamed) {
  EXPECT_EQ(refusal(require_no_swap(Kernel())), "");
  const auto on = require_no_swap(with_swap());
  ASSERT_EQ(refusal(on), "swap_enabled");
  EXPECT_NE(on.error().message.find("/dev/sda2"), std::string::npos);
}

/// Kilobytes locked by this process.
long locked_kib() {
  const std::string status = read_small_file("/proc/self/status").value_or("");
  const auto at = status.find("VmLck:");
  return at == std::string::npos ? -1 : std::atol(status.c_str() + at + 6);
}

TEST(Guard, BesideANoswapTmpfsAllMemoryIsLockedOrSwapIsRefused) {
  EXPECT_EQ(refusal(require_unswappable(Kernel())), "");
  EXPECT_EQ(refusal(require_unswappable(with_swap())), "swap_enabled") << "this kernel may not lock";
  Kernel may = with_swap();
  may.lock_memory = true;
  if (!probe_kernel().lock_memory) GTEST_SKIP() << "NOT PROVEN: needs CAP_IPC_LOCK";
#ifdef __has_feature
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
  GTEST_SKIP() << "NOT PROVEN: under the sanitizers mlockall(2) does nothing";
#endif
#endif
  const pid_t child = fork();
  if (child == 0) {
    const bool was_unlocked = locked_kib() == 0;
    const bool ok = require_unswappable(may).has_value();
    const long after = locked_kib();
    WipedBuffer later(std::size_t{8} << 20);
    _exit(ok && was_unlocked && after > 0 && locked_kib() >= after + (8 << 10) ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

TEST(Guard, ForbidsCoreDumps) {
  const pid_t child = fork();
  if (child == 0) {
    rlimit limit{};
    const bool ok = forbid_core_dumps().has_value() && getrlimit(RLIMIT_CORE, &limit) == 0 && limit.rlim_max == 0 &&
                    prctl(PR_GET_DUMPABLE) == 0;
    _exit(ok ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace tb::deliver
