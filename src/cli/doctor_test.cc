#include "cli/doctor.h"

#include <gtest/gtest.h>
#include <linux/magic.h>
#include <sys/statfs.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace tb::cli {
namespace {

class DoctorTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "doctor-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void file(const std::string& path, const std::string& text) {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  Finding find(const std::string& name) {
    for (const Finding& finding : examine_machine(root_)) {
      if (finding.name == name) return finding;
    }
    ADD_FAILURE() << "no finding " << name;
    return {};
  }

  std::string root_;
};

TEST_F(DoctorTest, SwapIsAWarningWithAdvice) {
  file("/proc/meminfo", "MemTotal: 8388608 kB\nMemAvailable: 4194304 kB\nSwapTotal: 1048576 kB\n");
  EXPECT_EQ(find("swap").health, Health::kWarning);
  EXPECT_EQ(find("swap").value, "1.0 GiB on");
  EXPECT_NE(find("swap").advice, "");
  EXPECT_EQ(find("memory").value, "4.0 GiB available of 8.0 GiB");
  file("/proc/meminfo", "MemTotal: 8388608 kB\nMemAvailable: 1024 kB\nSwapTotal: 0 kB\n");
  EXPECT_EQ(find("swap").health, Health::kOk);
  EXPECT_EQ(find("memory").health, Health::kWarning);
}

TEST_F(DoctorTest, InstructionsComeFromEitherArchitecture) {
  file("/proc/cpuinfo", "processor: 0\nflags\t\t: fpu aes sha_ni\n");
  EXPECT_EQ(find("aes").value, "aes");
  EXPECT_EQ(find("sha256").value, "sha_ni");
  file("/proc/cpuinfo", "Features : fp asimd aes sha2\n");
  EXPECT_EQ(find("sha256").value, "sha2");
  file("/proc/cpuinfo", "flags : fpu\n");
  EXPECT_EQ(find("aes").health, Health::kWarning);
}

TEST_F(DoctorTest, ADiskUnderDevShmIsAFault) {
  if (!std::filesystem::create_directories(root_ + "/dev/shm")) GTEST_FAIL();
  struct statfs info{};
  ASSERT_EQ(statfs(root_.c_str(), &info), 0);
  EXPECT_EQ(find("tmpfs").health, info.f_type == TMPFS_MAGIC ? Health::kOk : Health::kFault);
  std::filesystem::remove(root_ + "/dev/shm");
  EXPECT_EQ(find("tmpfs").health, Health::kWarning);
}

TEST_F(DoctorTest, PipedCoreDumpsAreNamed) {
  file("/proc/sys/kernel/core_pattern", "|/usr/lib/collector %p\n");
  EXPECT_EQ(find("core_dumps").value, "piped to /usr/lib/collector");
}

Finding about(const char* name, const deliver::Kernel& kernel) {
  for (Finding& finding : examine_delivery(kernel)) {
    if (finding.name == name) return finding;
  }
  ADD_FAILURE() << "no finding " << name;
  return {};
}

TEST(DoctorDelivery, AllThatAKernelCanIsWell) {
  deliver::Kernel kernel;
  kernel.own_tmpfs = kernel.tmpfs_noswap = kernel.vmsplice = kernel.anonymous_huge_pages = kernel.lock_memory = true;
  kernel.tmpfs_huge = "within_size";
  kernel.pipe_bytes = 1 << 20;
  for (const Finding& finding : examine_delivery(kernel)) {
    EXPECT_EQ(finding.health, Health::kOk) << finding.name;
    EXPECT_EQ(finding.advice, "") << finding.name;
  }
  EXPECT_EQ(about("own_tmpfs", kernel).value, "can be mounted, never swaps");
  EXPECT_EQ(about("huge_pages", kernel).value, "tmpfs within_size, memory on request");
  EXPECT_EQ(about("pipe", kernel).value, "1.0 MiB, without a copy");
}

TEST(DoctorDelivery, WhatIsMissingComesWithAdvice) {
  const deliver::Kernel nothing;
  for (const char* name : {"own_tmpfs", "huge_pages", "pipe"}) {
    EXPECT_EQ(about(name, nothing).health, Health::kWarning) << name;
    EXPECT_NE(about(name, nothing).advice, "") << name;
  }
  EXPECT_EQ(about("locked_memory", nothing).health, Health::kOk) << "no matter while swap is off";
  deliver::Kernel swaps;
  swaps.swap_device = "/dev/sda2";
  EXPECT_EQ(about("locked_memory", swaps).health, Health::kWarning);
  deliver::Kernel denied;
  denied.own_tmpfs = denied.anonymous_huge_pages = denied.vmsplice = true;
  denied.pipe_bytes = 65536;
  EXPECT_NE(about("huge_pages", denied).advice.find("shmem_enabled"), std::string::npos);
  EXPECT_NE(about("pipe", denied).advice.find("pipe-max-size"), std::string::npos);
}

}  // namespace
}  // namespace tb::cli
