// spec: wire 2.3. A tmpfs of our own over model_dir, and every kernel that has less of it.
#include "deliver/own_mount.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/crypto.h"
#include "blob/sealed_sample.h"
#include "deliver/mount_namespace.h"
#include "deliver/mount_table.h"
#include "deliver/tmpfs.h"

namespace tb::deliver {
namespace {

namespace fs = std::filesystem;
using blob::SealedSample;

std::string text_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class OwnMountTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!enter_mount_namespace()) GTEST_SKIP() << "needs CAP_SYS_ADMIN";
    kernel_ = probe_kernel();
    if (!kernel_.own_tmpfs) GTEST_SKIP() << "needs a kernel with fsopen (5.2)";
    dir_ = "/dev/shm/tb-mount-" + random_token(9);
    fs::create_directories(model_dir());
    chmod(model_dir().c_str(), 0711);
  }
  void TearDown() override {
    if (dir_.empty()) return;
    while (umount2(model_dir().c_str(), MNT_DETACH) == 0) {
    }
    // Never below a mount that would not go.
    ASSERT_FALSE(mount_at(own_mount_table(), model_dir()));
    fs::remove_all(dir_);
  }
  std::string model_dir() const { return dir_ + "/model"; }
  std::unique_ptr<Delivery> make() const { return make(kernel_); }
  std::unique_ptr<Delivery> make(const Kernel& kernel, bool allow_swap = true) const {
    return make_tmpfs({model_dir(), geteuid(), allow_swap, true, kernel});
  }
  static Result<> feed(Delivery& delivery, const SealedSample& sample) {
    const tbenc::Layout layout = sample.manifest.layout();
    TRY(delivery.begin(sample.manifest, layout));
    for (std::uint64_t i = 0; i < layout.chunk_count(); ++i) {
      const ByteView all(sample.plain);
      TRY(delivery.chunk(i, all.subspan(layout.plain_offset(i), layout.chunk_plain_bytes(i))));
    }
    return delivery.finish();
  }
  static SealedSample sample() { return SealedSample::make(blob::sample_pattern((5 << 20) + 77), 1 << 20); }
  bool is_mounted() const { return is_own_mount(model_dir()); }
  static bool is_own_mount(const std::string& path) {
    const auto top = mount_at(own_mount_table(), path);
    return top && top->is_ours() && top->type == "tmpfs";
  }
  std::string options() const {
    for (const MountRow& row : own_mount_table()) {
      if (row.point != model_dir()) continue;
      std::ifstream in("/proc/self/mountinfo");
      for (std::string line; std::getline(in, line);) {
        if (line.find(" " + model_dir() + " ") != std::string::npos) return line;
      }
    }
    return {};
  }
  Kernel kernel_;
  std::string dir_;
};

TEST_F(OwnMountTest, IsThereWhileTheModelIsAndGoneAfterwards) {
  std::ofstream(model_dir() + "/bystander") << "of the operator";
  auto delivery = make();
  EXPECT_FALSE(is_mounted()) << "nothing to hold yet";
  const auto model = sample();
  auto fed = feed(*delivery, model);
  ASSERT_TRUE(fed) << fed.error().story();
  ASSERT_TRUE(is_mounted());
  EXPECT_EQ(text_of(delivery->path()), as_text(model.plain));
  EXPECT_FALSE(fs::exists(model_dir() + "/bystander")) << "covered";
  struct stat st{};
  ASSERT_EQ(stat(model_dir().c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0711U);
  struct statvfs info{};
  ASSERT_EQ(statvfs(model_dir().c_str(), &info), 0);
  constexpr unsigned long kWanted = ST_NOSUID | ST_NODEV | ST_NOEXEC;
  EXPECT_EQ(info.f_flag & kWanted, kWanted);
  if (!kernel_.tmpfs_huge.empty()) EXPECT_NE(options().find("huge=" + kernel_.tmpfs_huge), std::string::npos);
  EXPECT_EQ(options().find("noswap") != std::string::npos, kernel_.tmpfs_noswap);
  ASSERT_TRUE(delivery->revoke());
  EXPECT_FALSE(is_mounted());
  EXPECT_EQ(text_of(model_dir() + "/bystander"), "of the operator");
}

TEST_F(OwnMountTest, WhoHasTheFileOpenSeesZerosAfterRevoke) {
  auto delivery = make();
  const auto model = sample();
  ASSERT_TRUE(feed(*delivery, model));
  const Fd open_file_of_runtime(open(delivery->path().c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(open_file_of_runtime);
  ASSERT_TRUE(delivery->revoke());
  EXPECT_FALSE(is_mounted());
  EXPECT_EQ(value_or_throw(file_size(open_file_of_runtime.get(), "model")), 0U);
}

TEST_F(OwnMountTest, EveryLesserKernelDelivers) {
  const auto model = sample();
  Kernel small_pages = kernel_, swaps = kernel_, always = kernel_, nothing;
  small_pages.tmpfs_huge.clear();
  swaps.tmpfs_noswap = false;
  if (!always.tmpfs_huge.empty()) always.tmpfs_huge = "always";
  for (const Kernel& kernel : {small_pages, swaps, always, nothing}) {
    auto delivery = make(kernel);
    auto fed = feed(*delivery, model);
    ASSERT_TRUE(fed) << fed.error().story();
    EXPECT_EQ(is_mounted(), kernel.own_tmpfs);
    EXPECT_EQ(text_of(delivery->path()), as_text(model.plain));
    ASSERT_TRUE(delivery->revoke());
    EXPECT_FALSE(is_mounted());
  }
}

TEST_F(OwnMountTest, DirectoryOfManySmallFilesFits) {
  fs::create_directories(dir_ + "/in/sub");
  for (int i = 0; i < 100; ++i) std::ofstream(dir_ + "/in/sub/" + std::to_string(i)) << "x";
  std::ofstream(dir_ + "/in/model.safetensors") << as_text(blob::sample_pattern(5'000'000));
  const auto model = SealedSample::of_directory(dir_ + "/in", 1 << 20);
  Kernel always = kernel_;
  if (!always.tmpfs_huge.empty()) always.tmpfs_huge = "always";
  for (const Kernel& kernel : {kernel_, always}) {
    auto delivery = make(kernel);
    auto fed = feed(*delivery, model);
    ASSERT_TRUE(fed) << fed.error().story();
    EXPECT_EQ(text_of(delivery->path() + "/model.safetensors"), text_of(dir_ + "/in/model.safetensors"));
  }
}

TEST_F(OwnMountTest, MountsThatKilledRunsLeftAreWipedAndTakenAway) {
  Fd left;
  for (int run = 0; run < 2; ++run) {
    auto killed = value_or_throw(OwnMount::make({.bytes = 1 << 20}));
    const Fd below(open(model_dir().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    ASSERT_TRUE(killed.attach(below.get()));
    std::ofstream(model_dir() + "/model.bin") << "plaintext";
    left = Fd(open((model_dir() + "/model.bin").c_str(), O_RDONLY | O_CLOEXEC));
  }
  ASSERT_TRUE(is_mounted());
  // Also by a run that mounts nothing itself.
  auto delivery = make_tmpfs({model_dir(), geteuid(), true});
  EXPECT_FALSE(is_mounted());
  EXPECT_FALSE(fs::exists(model_dir() + "/model.bin"));
  EXPECT_EQ(value_or_throw(file_size(left.get(), "left")), 0U);
}

TEST_F(OwnMountTest, WhatOthersMountedIsUsedAsItIsIfItIsMemory) {
  ASSERT_EQ(mount("tmpfs", model_dir().c_str(), "tmpfs", 0, "size=64m,mode=0711"), 0);
  const auto model = sample();
  {
    auto delivery = make();
    ASSERT_TRUE(feed(*delivery, model));
    EXPECT_FALSE(is_mounted());
    EXPECT_EQ(text_of(delivery->path()), as_text(model.plain));
  }
  EXPECT_TRUE(mount_at(own_mount_table(), model_dir())) << "and stays";
  ASSERT_EQ(umount2(model_dir().c_str(), 0), 0) << "nobody of us holds it";
  const std::string on_disk = std::string(TB_SOURCE_DIR) + "/build/tb-own-mount-" + random_token(9);
  fs::create_directory(on_disk);
  ASSERT_EQ(mount(on_disk.c_str(), model_dir().c_str(), nullptr, MS_BIND, nullptr), 0);
  try {
    make();
    ADD_FAILURE() << "plaintext would stand on a disk";
  } catch (const Error& error) {
    EXPECT_EQ(error.reason, "plaintext_on_disk");
  }
  fs::remove(on_disk);
}

TEST_F(OwnMountTest, ADiskBelowIsNoMatterUnlessTheMountIsRefused) {
  const std::string on_disk = std::string(TB_SOURCE_DIR) + "/build/tb-own-mount-" + random_token(9);
  const auto model = sample();
  {
    auto delivery = make_tmpfs({on_disk, geteuid(), true, true, kernel_});
    auto fed = feed(*delivery, model);
    ASSERT_TRUE(fed) << fed.error().story();
    EXPECT_TRUE(is_own_mount(on_disk));
  }
  EXPECT_TRUE(fs::is_empty(on_disk));
  // Refused at the last moment: an option that this kernel's probe did promise.
  Kernel lying = kernel_;
  lying.tmpfs_huge = "enormous";
  auto delivery = make_tmpfs({on_disk, geteuid(), true, true, lying});
  auto begun = delivery->begin(model.manifest, model.manifest.layout());
  ASSERT_FALSE(begun);
  EXPECT_EQ(begun.error().reason, "plaintext_on_disk");
  EXPECT_TRUE(fs::is_empty(on_disk));
  fs::remove(on_disk);
}

TEST_F(OwnMountTest, RefusedMountFallsBackToTheDirectoryUnlessSwapIsOn) {
  const auto model = sample();
  Kernel lying = kernel_;
  lying.tmpfs_huge = "enormous";
  {
    auto delivery = make(lying);
    ASSERT_TRUE(feed(*delivery, model));
    EXPECT_FALSE(is_mounted());
    EXPECT_EQ(text_of(delivery->path()), as_text(model.plain));
  }
  if (!kernel_.tmpfs_noswap || !kernel_.lock_memory) GTEST_SKIP() << "needs noswap and CAP_IPC_LOCK";
  lying.swap_device = "/dev/sda2";
  auto delivery = make(lying, false);
  auto begun = delivery->begin(model.manifest, model.manifest.layout());
  munlockall();
  ASSERT_FALSE(begun);
  EXPECT_EQ(begun.error().reason, "swap_enabled");
}

TEST_F(OwnMountTest, SwapIsRefusedWithoutNoswapOrWithoutLockedMemory) {
  Kernel kernel = kernel_;
  kernel.swap_device = "/dev/sda2";
  Kernel swapping = kernel, unlocked = kernel;
  swapping.tmpfs_noswap = false;
  unlocked.lock_memory = false;
  for (const Kernel& lesser : {swapping, unlocked}) {
    try {
      make(lesser, false);
      FAIL() << "memory can reach a disk";
    } catch (const Error& error) {
      EXPECT_EQ(error.reason, "swap_enabled");
    }
  }
  if (!kernel_.tmpfs_noswap || !kernel_.lock_memory) GTEST_SKIP() << "needs noswap and CAP_IPC_LOCK";
  auto delivery = make(kernel, false);
  EXPECT_TRUE(feed(*delivery, sample()));
  delivery.reset();
  munlockall();
}

}  // namespace
}  // namespace tb::deliver
