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
