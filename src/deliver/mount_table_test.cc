// spec: wire 2.2 (TB_DELIVERY=auto)
#include "deliver/mount_table.h"

#include <gtest/gtest.h>

namespace tb::deliver {
namespace {

constexpr std::string_view kTable =
    "27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard\n"
    "25 27 0:23 / /dev/shm rw,relatime - tmpfs tmpfs rw,size=24684084k\n"
    "40 25 0:50 / /dev/shm/with\\040space rw shared:7 master:2 - tmpfs a\\134b rw\n"
    "41 25 0:51 / /dev/shm/model rw,nosuid master:9 - tmpfs first rw\n"
    "42 41 0:52 / /dev/shm/model rw,nosuid propagate_from:3 unbindable - fuse.trustbridge trustbridge rw\n";

TEST(MountTable, RowsAreReadWithTheirEscapesAndOptionalFields) {
  const auto table = mount_table(kTable);
  ASSERT_EQ(table.size(), 5U);
  EXPECT_EQ(table[2].point, "/dev/shm/with space");
  EXPECT_EQ(table[2].source, "a\\b");
  EXPECT_TRUE(table[2].shared);
  EXPECT_FALSE(table[3].shared) << "a slave gets mounts and gives none";
  EXPECT_EQ(table[4].type, "fuse.trustbridge");
}

TEST(MountTable, TheMountOnTopCounts) {
  const auto table = mount_table(kTable);
  EXPECT_EQ(mount_at(table, "/dev/shm/model")->source, "trustbridge");
  EXPECT_EQ(mount_of(table, "/dev/shm/model/deep/below")->source, "trustbridge");
  EXPECT_FALSE(mount_at(table, "/dev/shm/model/deep"));
  EXPECT_FALSE(mount_at(table, "/dev/shm/mod"));
  EXPECT_EQ(mount_of(table, "/dev/shm/models")->point, "/dev/shm") << "a name is no prefix of another";
  EXPECT_EQ(mount_of(table, "/var")->point, "/");
  EXPECT_FALSE(mount_of({}, "/var"));
}

TEST(MountTable, OnlySharedMountsAreSeenByOthers) {
  const auto table = mount_table(kTable);
  EXPECT_TRUE(mount_is_seen_by_others(table, "/var/lib/model"));
  EXPECT_TRUE(mount_is_seen_by_others(table, "/dev/shm/with space/model"));
  EXPECT_FALSE(mount_is_seen_by_others(table, "/dev/shm/trustbridge/model"));
  EXPECT_FALSE(mount_is_seen_by_others({}, "/var"));
}

TEST(MountTable, WhatIsNoRowIsLeftOut) {
  for (const char* row : {"", "\n\n", "27", "27 1 254:0 / / rw shared:1", "27 1 254:0 / / rw shared:1 - ext4",
                          "27 1 254:0 / / rw shared:1 ext4 /dev/vda rw"}) {
    EXPECT_TRUE(mount_table(row).empty()) << row;
  }
}

TEST(MountTable, ReadsItsOwnTable) {
  EXPECT_TRUE(mount_of(own_mount_table(), "/proc/self")) << "something is mounted at or above /proc";
}

TEST(MountTable, OursAreKnownAgain) {
  EXPECT_TRUE((MountRow{"/m", "fuse.trustbridge", "trustbridge"}).is_ours());
  EXPECT_TRUE((MountRow{"/m", "tmpfs", "trustbridge"}).is_ours());
  EXPECT_FALSE((MountRow{"/m", "fuse.trustbridge", "other"}).is_ours());
  EXPECT_FALSE((MountRow{"/m", "fuse.sshfs", "trustbridge"}).is_ours());
  EXPECT_FALSE((MountRow{"/m", "tmpfs", "tmpfs"}).is_ours());
}

}  // namespace
}  // namespace tb::deliver
