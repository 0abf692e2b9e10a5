#include "deliver/kernel.h"

#include <gtest/gtest.h>

#include "deliver/own_mount.h"

namespace tb::deliver {
namespace {

TEST(Kernel, SwapTable) {
  EXPECT_EQ(swap_device(""), "");
  EXPECT_EQ(swap_device("Filename\tType\tSize\tUsed\tPriority\n"), "");
  EXPECT_EQ(swap_device("Filename\tType\tSize\n/dev/sda2  partition\t8388604\t0\t-2\n/swap file 1 0 -3\n"),
            "/dev/sda2");
  EXPECT_EQ(swap_device("Filename\tType\n/swap\tfile\n"), "/swap");
}

TEST(Kernel, HugePagesOfAnonymousMemory) {
  EXPECT_TRUE(huge_pages_on_request("always [madvise] never\n"));
  EXPECT_TRUE(huge_pages_on_request("[always] madvise never\n"));
  EXPECT_FALSE(huge_pages_on_request("always madvise [never]\n"));
  EXPECT_FALSE(huge_pages_on_request(""));
}

TEST(Kernel, HugePagesOfAFileAreReadFromItsOwnMapping) {
  const std::string smaps =
      "7f0000000000-7f0000200000 rw-s 00000000 00:01 1 /probe\nSize: 2048 kB\nShmemPmdMapped:        0 kB\nVmFlags: "
      "rd\n"
      "7f0000400000-7f0000600000 rw-s 00000000 00:01 1 /probe\nSize: 2048 kB\nShmemPmdMapped:     2048 kB\nVmFlags: "
      "rd\n"
      "7f0000800000-7f0000a00000 rw-s 00000000 00:01 1 /probe\nSize: 2048 kB\nVmFlags: rd\n"
      "7f0000c00000-7f0000e00000 rw-s 00000000 00:01 1 /probe\nShmemPmdMapped: 2048 kB\nVmFlags: rd\n";
  EXPECT_FALSE(has_huge_page(smaps, 0x7f0000000000));
  EXPECT_TRUE(has_huge_page(smaps, 0x7f0000400000));
  EXPECT_FALSE(has_huge_page(smaps, 0x7f0000800000)) << "an old kernel without the field, not the next row's";
  EXPECT_FALSE(has_huge_page(smaps, 0x7f0000200000)) << "an end is no start";
  EXPECT_FALSE(has_huge_page("", 0));
}

TEST(Kernel, ProbesAgreeWithWhatCanBeDone) {
  const Kernel kernel = probe_kernel();
  EXPECT_GE(kernel.pipe_bytes, 4096U);
  EXPECT_LE(kernel.pipe_bytes, kMostPipeBytes);
  EXPECT_EQ(OwnMount::make({.bytes = 1 << 20}).has_value(), kernel.own_tmpfs);
  EXPECT_EQ(OwnMount::make({.bytes = 1 << 20, .noswap = true}).has_value(), kernel.tmpfs_noswap);
  if (!kernel.own_tmpfs) EXPECT_EQ(kernel.tmpfs_huge, "");
}

TEST(Kernel, RefusesOptionsThatTmpfsDoesNotKnow) {
  if (!probe_kernel().own_tmpfs) GTEST_SKIP() << "needs CAP_SYS_ADMIN";
  EXPECT_FALSE(OwnMount::make({.bytes = 1 << 20, .huge = "enormous"}));
}

}  // namespace
}  // namespace tb::deliver
