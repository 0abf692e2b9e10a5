// spec: wire 2.3
#include "deliver/mount.h"

#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <csetjmp>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <thread>

#include "asset/sealed_chunks.h"
#include "base/crypto.h"
#include "blob/sealed_sample.h"
#include "deliver/mount_point.h"
#include "deliver/mount_table.h"
#include "deliver/test_chunks.h"

/// libfuse frees its copy of the mount point's name only where it unmounts by that name. What was unmounted from
/// outside is not: something of somebody else's may stand there by now.
extern "C" const char* __lsan_default_suppressions() {
  return "leak:fuse_session_mount\n";
}

namespace tb::deliver {
namespace {

namespace fs = std::filesystem;
using blob::SealedSample;

constexpr std::uint32_t kChunk = 65536;

/// Why mounts cannot be tested here; empty if they can.
const std::string& no_mounts() {
  static const std::string why = [] {
    const auto works = mount_works();
    return works ? std::string() : works.error().story();
  }();
  return why;
}

std::string text_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Over a copy of the ciphertext that it owns: it outlives the sample.
std::shared_ptr<asset::ChunkSource> chunks_of(const SealedSample& sample) {
  auto bytes = std::make_shared<const Bytes>(sample.ciphertext);
  const std::shared_ptr<const tbenc::MemorySource> source(new tbenc::MemorySource(*bytes),
                                                          [bytes](const tbenc::MemorySource* used) { delete used; });
  return value_or_throw(asset::SealedChunks::open(sample.key, source, sample.manifest.known()));
}

class MountTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!no_mounts().empty()) GTEST_SKIP() << "NOT PROVEN, no FUSE here: " << no_mounts();
    dir_ = "/dev/shm/tb-mount-" + random_token(9);
  }
  void TearDown() override {
    if (dir_.empty()) return;
    EXPECT_FALSE(mount_at(own_mount_table(), model_dir())) << "a mount was left";
    std::error_code ignored;
    fs::remove_all(dir_, ignored);
  }
  std::string model_dir() const { return dir_ + "/model"; }
  std::unique_ptr<Mount> make(bool bare = false) const { return make_mount({model_dir(), geteuid(), true, bare}); }
  std::unique_ptr<Mount> serve(const SealedSample& sample, bool bare = false) const {
    auto mount = make(bare);
    value_or_throw(mount->begin(sample.manifest, sample.manifest.layout()));
    mount->serve(chunks_of(sample));
    return mount;
  }
  /// One raw file `model.bin` over chunks that block, fail and count.
  std::unique_ptr<Mount> serve(const std::shared_ptr<test::TestChunks>& chunks) const {
    auto mount = make();
    const auto manifest = test::manifest_of(chunks->layout());
    value_or_throw(mount->begin(manifest, manifest.layout()));
    mount->serve(chunks);
    return mount;
  }
  void make_model() const {
    fs::create_directories(dir_ + "/in/sub/deep");
    std::ofstream(dir_ + "/in/config.json") << "{}";
    std::ofstream(dir_ + "/in/empty");
    std::ofstream(dir_ + "/in/run.sh") << "#!/bin/sh\n";
    chmod((dir_ + "/in/run.sh").c_str(), 0755);
    std::ofstream(dir_ + "/in/sub/deep/model.safetensors") << as_text(blob::sample_pattern(700'001));
  }
  std::string dir_;
};

Result<Bytes> read_at(int fd, std::uint64_t offset, std::size_t bytes) {
  Bytes out(bytes);
  const auto got = pread(fd, out.data(), bytes, static_cast<off_t>(offset));
  if (got < 0) return fail(error_from_errno(errno, "read"));
  out.resize(static_cast<std::size_t>(got));
  return out;
}

TEST_F(MountTest, FileIsReadByEveryMeans) {
  const auto sample = SealedSample::make(blob::sample_pattern(3'000'017), kChunk);
  auto mount = serve(sample);
  EXPECT_TRUE(mount->usable());
  EXPECT_EQ(mount->kind(), "mount");
  EXPECT_EQ(mount->path(), model_dir() + "/model.bin");
  EXPECT_EQ(text_of(mount->path()), as_text(sample.plain));

  const auto same = [&](const Result<Bytes>& read, std::uint64_t offset, std::size_t bytes) {
    const ByteView want = ByteView(sample.plain).subspan(offset, bytes);
    return read && std::ranges::equal(*read, want);
  };
  const Fd fd(open(mount->path().c_str(), O_RDONLY));
  ASSERT_TRUE(fd);
  for (const std::uint64_t offset : {0U, 1U, 65535U, 65536U, 2'999'000U})
    EXPECT_TRUE(same(read_at(fd.get(), offset, 1000), offset, 1000));
  EXPECT_TRUE(same(read_at(fd.get(), 3'000'000, 4096), 3'000'000, 17)) << "the last bytes";
  EXPECT_TRUE(read_at(fd.get(), 3'000'017, 10)->empty());

  const Fd direct(open(mount->path().c_str(), O_RDONLY | O_DIRECT));
  ASSERT_TRUE(direct);
  void* aligned = aligned_alloc(4096, 1 << 20);
  ASSERT_EQ(pread(direct.get(), aligned, 1 << 20, 1 << 20), 1 << 20);
  EXPECT_EQ(std::memcmp(aligned, sample.plain.data() + (1 << 20), 1 << 20), 0);
  free(aligned);

  for (const auto& [protection, flags] :
       {std::pair(PROT_READ, MAP_SHARED), std::pair(PROT_READ | PROT_WRITE, MAP_PRIVATE)}) {
    void* mapped = mmap(nullptr, sample.plain.size(), protection, flags, fd.get(), 0);
    ASSERT_NE(mapped, MAP_FAILED);
    EXPECT_EQ(std::memcmp(mapped, sample.plain.data(), sample.plain.size()), 0);
    munmap(mapped, sample.plain.size());
  }
  EXPECT_EQ(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0), MAP_FAILED);
}

TEST_F(MountTest, DirectoryIsWhatTheIndexSays) {
  make_model();
  for (const bool bare : {false, true}) {
    const auto sample = SealedSample::of_directory(dir_ + "/in", 4096);
    auto mount = serve(sample, bare);
    EXPECT_EQ(mount->path(), bare ? model_dir() : model_dir() + "/model");
    for (const char* path : {"config.json", "empty", "run.sh", "sub/deep/model.safetensors"}) {
      EXPECT_EQ(text_of(fs::path(mount->path()) / path), text_of(fs::path(dir_ + "/in") / path)) << path;
    }
    std::vector<std::string> seen;
    for (const auto& entry : fs::recursive_directory_iterator(mount->path())) {
      seen.push_back(fs::relative(entry.path(), mount->path()));
    }
    std::ranges::sort(seen);
    EXPECT_EQ(seen, (std::vector<std::string>{"config.json", "empty", "run.sh", "sub", "sub/deep",
                                              "sub/deep/model.safetensors"}));
    EXPECT_EQ(fs::status(mount->path() + "/run.sh").permissions(), fs::perms(0500));
    EXPECT_EQ(fs::status(mount->path() + "/config.json").permissions(), fs::perms(0400));
    EXPECT_EQ(fs::status(mount->path() + "/sub").permissions(), fs::perms(0500));
    EXPECT_EQ(fs::status(model_dir()).permissions(), fs::perms(bare ? 0500 : 0711));
    EXPECT_FALSE(fs::exists(mount->path() + "/no-such-file"));
    struct statvfs fsinfo{};
    ASSERT_EQ(statvfs(model_dir().c_str(), &fsinfo), 0);
    EXPECT_EQ(fsinfo.f_flag & (ST_RDONLY | ST_NOSUID | ST_NODEV | ST_NOEXEC),
              ST_RDONLY | ST_NOSUID | ST_NODEV | ST_NOEXEC);
    ASSERT_TRUE(mount->revoke());
    EXPECT_TRUE(fs::is_empty(model_dir()));
  }
}

TEST_F(MountTest, ADirectoryOfManyFilesIsListedWhole) {
  fs::create_directories(dir_ + "/in");
  for (int i = 0; i < 3000; ++i) std::ofstream(dir_ + "/in/a-rather-long-name-of-a-file-" + std::to_string(i)) << i;
  auto mount = serve(SealedSample::of_directory(dir_ + "/in", kChunk));
  std::size_t count = 0;
  for (const auto& entry : fs::directory_iterator(mount->path())) count += entry.is_regular_file();
  EXPECT_EQ(count, 3000U);
  EXPECT_EQ(text_of(mount->path() + "/a-rather-long-name-of-a-file-2999"), "2999");
}

TEST_F(MountTest, EverythingThatWritesIsRefused) {
  make_model();
  auto mount = serve(SealedSample::of_directory(dir_ + "/in", kChunk));
  const std::string file = mount->path() + "/config.json", fresh = mount->path() + "/new";
  const auto refused = [](int result) { return result == -1 ? errno : 0; };
  EXPECT_EQ(refused(open(file.c_str(), O_WRONLY)), EROFS);
  EXPECT_EQ(refused(open(file.c_str(), O_RDWR | O_TRUNC)), EROFS);
  EXPECT_EQ(refused(open(fresh.c_str(), O_RDWR | O_CREAT, 0600)), EROFS);
  EXPECT_EQ(refused(unlink(file.c_str())), EROFS);
  EXPECT_EQ(refused(mkdir(fresh.c_str(), 0700)), EROFS);
  EXPECT_EQ(refused(rename(file.c_str(), fresh.c_str())), EROFS);
  EXPECT_EQ(refused(chmod(file.c_str(), 0777)), EROFS);
  EXPECT_EQ(refused(truncate(file.c_str(), 0)), EROFS);
  EXPECT_EQ(refused(symlink("x", fresh.c_str())), EROFS);
  EXPECT_EQ(refused(setxattr(file.c_str(), "user.x", "y", 1, 0)), EROFS);
}

TEST_F(MountTest, ManyReadersAtOnceOpenEachChunkOnce) {
  auto chunks = std::make_shared<test::TestChunks>(40 * kChunk + 99, kChunk);
  auto mount = serve(chunks);
  std::vector<std::jthread> readers;
  for (int i = 0; i < 64; ++i) {
    readers.emplace_back([&, i] {
      const Fd fd(open(mount->path().c_str(), O_RDONLY));
      for (std::uint64_t n = 0; n < 41; ++n) {
        const std::uint64_t offset = (n * 7 + static_cast<std::uint64_t>(i)) % 41 * kChunk + 50;
        const auto read = read_at(fd.get(), offset, 40);
        EXPECT_TRUE(read && test::is_plain(offset, *read)) << offset;
      }
    });
  }
  readers.clear();
  for (std::uint64_t i = 0; i < 41; ++i) EXPECT_EQ(chunks->opened(i), 1) << i;
}

TEST_F(MountTest, AChunkThatDoesNotVerifyIsAnErrorOfThatChunkAndIsSaid) {
  auto chunks = std::make_shared<test::TestChunks>(std::uint64_t{64} << 20, 4U << 20);
  chunks->spoil(9);
  auto mount = serve(chunks);
  EXPECT_FALSE(mount->last_fault());
  const Fd fd(open(mount->path().c_str(), O_RDONLY | O_DIRECT));
  alignas(4096) static std::uint8_t page[4096];
  EXPECT_EQ(pread(fd.get(), page, sizeof page, std::int64_t{9} * (4 << 20) + 8192), -1);
  EXPECT_EQ(errno, EIO);
  EXPECT_EQ(pread(fd.get(), page, sizeof page, std::int64_t{11} * (4 << 20)), 4096);
  EXPECT_TRUE(test::is_plain(std::uint64_t{11} * (4 << 20), page));
  ASSERT_TRUE(mount->last_fault());
  EXPECT_EQ(mount->last_fault()->reason, "tag_mismatch");
  EXPECT_FALSE(mount->usable());
  EXPECT_TRUE(mount->last_fault());
}

TEST_F(MountTest, SmallReadsHereAndThereOpenEachChunkOnce) {
  auto chunks = std::make_shared<test::TestChunks>(std::uint64_t{32} * kChunk, kChunk);
  auto mount = serve(chunks);
  const Fd fd(open(mount->path().c_str(), O_RDONLY));
  // Twenty chunks of 64 KiB fit into the cache many times over; what is proven is that the page cache answers, too.
  (void)read_at(fd.get(), 5 * kChunk + 4096, 100);
  const auto resident = [&] {
    void* mapped = mmap(nullptr, kChunk, PROT_READ, MAP_SHARED, fd.get(), 5 * kChunk);
    std::vector<unsigned char> pages(kChunk / 4096);
    EXPECT_EQ(mincore(mapped, kChunk, pages.data()), 0);
    munmap(mapped, kChunk);
    return std::ranges::count_if(pages, [](unsigned char page) { return (page & 1) != 0; });
  };
  // The push comes after the answer; a minute is for a machine that hangs, not for one that is busy.
  for (int i = 0; i < 6000 && resident() != kChunk / 4096; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(resident(), kChunk / 4096);
  const auto read = read_at(fd.get(), 5 * kChunk, kChunk);
  EXPECT_TRUE(read && test::is_plain(5 * kChunk, *read));
  EXPECT_EQ(chunks->opened(5), 1);
}

TEST_F(MountTest, AChunkThatWasOpenedElsewhereIsTaken) {
  auto chunks = std::make_shared<test::TestChunks>(std::uint64_t{8} * kChunk, kChunk);
  auto mount = serve(chunks);
  const Fd fd(open(mount->path().c_str(), O_RDONLY));
  ASSERT_TRUE(mount->chunk(6, test::plain(6 * kChunk, kChunk)));
  const auto read = read_at(fd.get(), 6 * kChunk + 10, 1000);
  EXPECT_TRUE(read && test::is_plain(6 * kChunk + 10, *read));
  EXPECT_EQ(chunks->opened(6), 0);
}

TEST_F(MountTest, RevokeEndsReadersOpenFilesAndAMountWhoseSourceHangs) {
  auto chunks = std::make_shared<test::TestChunks>(std::uint64_t{64} << 20, 4U << 20);
  auto mount = serve(chunks);
  const Fd fd(open(mount->path().c_str(), O_RDONLY));
  EXPECT_TRUE(read_at(fd.get(), 0, 4096));
  chunks->block(10);
  std::vector<std::jthread> readers;
  std::atomic<int> failed = 0;
  for (int i = 0; i < 8; ++i) {
    readers.emplace_back([&, i] {
      const auto read = read_at(fd.get(), (std::uint64_t{10} << 22) + static_cast<std::uint64_t>(i) * 4096, 4096);
      if (!read) ++failed;
    });
  }
  chunks->wait_blocked();
  ASSERT_TRUE(mount->revoke());
  readers.clear();
  EXPECT_EQ(failed, 8);
  EXPECT_FALSE(mount->usable());
  EXPECT_FALSE(mount->last_fault());
  EXPECT_FALSE(read_at(fd.get(), 0, 4096)) << "what was in the page cache is gone, too";
  EXPECT_TRUE(fs::is_empty(model_dir()));
}

sigjmp_buf g_out_of_read;
extern "C" void on_bus_error(int) {
  siglongjmp(g_out_of_read, 1);
}

TEST_F(MountTest, RevokeTakesMappedPagesAway) {
  auto chunks = std::make_shared<test::TestChunks>(std::uint64_t{8} << 20, 4U << 20);
  auto mount = serve(chunks);
  const Fd fd(open(mount->path().c_str(), O_RDONLY));
  auto* mapped = static_cast<volatile std::uint8_t*>(mmap(nullptr, 8 << 20, PROT_READ, MAP_SHARED, fd.get(), 0));
  ASSERT_NE(mapped, MAP_FAILED);
  for (std::size_t at = 0; at < (8 << 20); at += 4096) ASSERT_EQ(mapped[at], test::plain_byte(at));
  ASSERT_TRUE(mount->revoke());
  struct sigaction action{}, before{};
  action.sa_handler = on_bus_error;
  sigaction(SIGBUS, &action, &before);
  volatile std::size_t still_readable = 0;
  for (volatile std::size_t at = 0; at < (8 << 20); at = at + 4096) {
    if (sigsetjmp(g_out_of_read, 1) == 0) {
      (void)mapped[at];
      still_readable = still_readable + 1;
    }
  }
  sigaction(SIGBUS, &before, nullptr);
  EXPECT_EQ(still_readable, 0U);
}

TEST_F(MountTest, RevokeUnderManyReadersOfEveryKind) {
  for (int round = 0; round < 5; ++round) {
    auto chunks = std::make_shared<test::TestChunks>(std::uint64_t{48} << 20, 1U << 20);
    auto mount = serve(chunks);
    std::atomic<bool> ended = false;
    std::vector<std::jthread> readers;
    std::atomic<int> started = 0;
    for (int i = 0; i < 16; ++i) {
      readers.emplace_back([&, i] {
        const Fd fd(open(mount->path().c_str(), O_RDONLY | (i % 4 == 3 ? O_DIRECT : 0)));
        void* aligned = aligned_alloc(4096, 1 << 20);
        const std::size_t some = i % 4 == 0 ? 4096 : std::size_t{1} << 20;
        for (std::uint64_t n = static_cast<std::uint64_t>(i) * 7919; !ended; n += i % 2 == 0 ? 1 : 7919) {
          const auto offset = static_cast<off_t>(n * some % (std::uint64_t{48} << 20));
          if (pread(fd.get(), aligned, some, offset) < 0) break;
          if (n == static_cast<std::uint64_t>(i) * 7919) ++started, started.notify_all();
        }
        free(aligned);
      });
    }
    for (int seen = started; seen < 16; seen = started) started.wait(seen);
    ASSERT_TRUE(mount->revoke());
    ended = true;
  }
}

TEST_F(MountTest, CanBeServedAgainAfterRevoke) {
  const auto sample = SealedSample::make(blob::sample_pattern(100'000), kChunk);
  auto mount = make();
  for (int round = 0; round < 3; ++round) {
    ASSERT_TRUE(mount->begin(sample.manifest, sample.manifest.layout()));
    mount->serve(chunks_of(sample));
    EXPECT_EQ(text_of(mount->path()), as_text(sample.plain));
    ASSERT_TRUE(mount->revoke());
  }
}

TEST_F(MountTest, TakenAwayFromOutsideIsSeen) {
  auto mount = serve(SealedSample::make(blob::sample_pattern(1000), kChunk));
  ASSERT_TRUE(detach_mount(model_dir()));
  for (int i = 0; i < 6000 && !mount->ended(); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_TRUE(mount->ended());
  EXPECT_FALSE(mount->usable());
  EXPECT_TRUE(mount->last_fault());
  EXPECT_TRUE(mount->revoke());
}

TEST_F(MountTest, ADeadMountOfOursIsDetachedAndALiveOneIsNot) {
  const auto sample = SealedSample::make(blob::sample_pattern(100'000), kChunk);
  const pid_t child = fork();
  if (child == 0) {
    auto mount = serve(sample);
    (void)text_of(mount->path());
    raise(SIGSTOP);
    _exit(1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, WUNTRACED), child);
  ASSERT_TRUE(WIFSTOPPED(status));
  kill(child, SIGCONT);
  kill(child, SIGKILL);
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(mount_at(own_mount_table(), model_dir()));
  {
    auto mount = serve(sample);
    EXPECT_EQ(text_of(mount->path()), as_text(sample.plain));
    EXPECT_THROW(make(), Error) << "one of ours that is served";
  }
  EXPECT_FALSE(mount_at(own_mount_table(), model_dir()));
}

TEST_F(MountTest, APlaceThatIsNotOursIsRefused) {
  fs::create_directories(model_dir());
  chmod(model_dir().c_str(), 0711);
  std::ofstream(model_dir() + "/bystander") << "of the operator";
  EXPECT_THROW(make(), Error);
  EXPECT_TRUE(fs::exists(model_dir() + "/bystander"));
  fs::remove(model_dir() + "/bystander");
  std::ofstream(model_dir() + "/.hydrating-old") << "partial";
  EXPECT_NO_THROW(make());
  EXPECT_TRUE(fs::is_empty(model_dir())) << "of tmpfs, an earlier run";
  EXPECT_THROW(make_mount({"relative", geteuid(), true, false}), Error);
  if (geteuid() != 0) return;
  ASSERT_EQ(::mount("other", model_dir().c_str(), "tmpfs", 0, ""), 0);
  EXPECT_THROW(make(), Error);
  umount(model_dir().c_str());
}

/// In a mount namespace of its own, /dev/fuse as distributions have it: for every user. A machine without udev has it
/// for root only.
bool open_fuse_to_all(const std::string& aside) {
  return unshare(CLONE_NEWNS) == 0 && ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
         mknod(aside.c_str(), S_IFCHR | 0666, makedev(10, 229)) == 0 && chmod(aside.c_str(), 0666) == 0 &&
         ::mount(aside.c_str(), "/dev/fuse", nullptr, MS_BIND, nullptr) == 0;
}

/// What a child exits with that cannot have what it needs here.
constexpr int kCannot = 77;

/// Runs `work` as another user in a child; gives its exit status, kCannot if `before` fails.
int as_user(uid_t uid, const std::function<int()>& work, const std::function<bool()>& before = [] { return true; }) {
  const pid_t child = fork();
  if (child == 0) {
    if (!before()) _exit(kCannot);
    if (setgroups(0, nullptr) != 0 || setresgid(uid, uid, uid) != 0 || setresuid(uid, uid, uid) != 0) _exit(99);
    _exit(work());
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 98;
}

TEST_F(MountTest, OnlyTheRuntimesUserMayOpenRootNeither) {
  if (geteuid() != 0) GTEST_SKIP() << "NOT PROVEN: needs root";
  make_model();
  const auto sample = SealedSample::of_directory(dir_ + "/in", kChunk);
  auto mount = make_mount({model_dir(), 12345, true, false});
  ASSERT_TRUE(mount->begin(sample.manifest, sample.manifest.layout()));
  mount->serve(chunks_of(sample));
  const std::string file = mount->path() + "/config.json";
  const auto open_both = [&] {
    const Fd one(open(file.c_str(), O_RDONLY));
    const int first = one ? 0 : errno;
    const Fd other(open(mount->path().c_str(), O_RDONLY | O_DIRECTORY));
    return first * 10 + (other ? 0 : errno) / 10;
  };
  EXPECT_EQ(as_user(12345, [&] { return text_of(file) == "{}" ? open_both() : 97; }), 0);
  EXPECT_EQ(open_both(), EACCES * 10 + EACCES / 10);
  EXPECT_EQ(as_user(12346, open_both), EACCES * 10 + EACCES / 10);
  struct stat st{};
  ASSERT_EQ(stat(file.c_str(), &st), 0) << "but look at it";
  EXPECT_EQ(st.st_uid, 12345U);
}

TEST_F(MountTest, AnOrdinaryUserMountsThroughFusermount) {
  if (geteuid() != 0) GTEST_SKIP() << "this whole run is an ordinary user's";
  // fusermount3 wants a user that has a name.
  constexpr uid_t kNobody = 65534;
  fs::create_directories(dir_);
  ASSERT_EQ(chown(dir_.c_str(), kNobody, kNobody), 0);
  const auto sample = SealedSample::make(blob::sample_pattern(500'000), kChunk);
  const int outcome = as_user(
      kNobody,
      [&] {
        if (!mount_works(dir_)) return kCannot;
        auto mount = make_mount({model_dir(), kNobody, true, false});
        if (!mount->begin(sample.manifest, sample.manifest.layout())) return 1;
        mount->serve(chunks_of(sample));
        if (text_of(mount->path()) != as_text(sample.plain)) return 2;
        const Fd fd(open(mount->path().c_str(), O_RDONLY));
        if (!mount->revoke()) return 3;
        if (read_at(fd.get(), 0, 10)) return 4;
        return mount_at(own_mount_table(), model_dir()) ? 5 : 0;
      },
      [&] { return open_fuse_to_all(dir_ + "/fuse"); });
  if (outcome == kCannot) GTEST_SKIP() << "NOT PROVEN: an ordinary user cannot mount here";
  EXPECT_EQ(outcome, 0);
}

}  // namespace
}  // namespace tb::deliver
