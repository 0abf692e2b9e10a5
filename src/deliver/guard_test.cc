#include "deliver/guard.h"

#include <gtest/gtest.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

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

TEST(Guard, ReadsTheSwapTable) {
  EXPECT_EQ(refusal(require_no_swap("")), "");
  EXPECT_EQ(refusal(require_no_swap("Filename\tType\tSize\tUsed\tPriority\n")), "");
  auto on = require_no_swap("Filename\tType\tSize\n/dev/sda2  partition\t8388604\t0\t-2\n");
  ASSERT_EQ(refusal(on), "swap_enabled");
  EXPECT_NE(on.error().message.find("/dev/sda2"), std::string::npos);
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
