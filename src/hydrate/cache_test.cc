// spec: tbenc-v1 5 (ciphertext that is read again)
#include "hydrate/cache.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "base/crypto.h"

namespace tb::hydrate {
namespace {

namespace fs = std::filesystem;

class CacheTest : public testing::Test {
 protected:
  void SetUp() override { dir_ = testing::TempDir() + "/tb-cache-" + random_token(9); }
  void TearDown() override { fs::remove_all(dir_); }
  static tbenc::Layout layout(std::uint64_t plain) {
    return value_or_throw(tbenc::Layout::from_plaintext(plain, 1024));
  }
  Result<std::shared_ptr<Cache>> open(std::uint64_t plain, std::uint8_t manifest = 1) const {
    return Cache::on_disk(dir_, Digest{manifest}, layout(plain));
  }
  static void put(Cache& cache, std::uint64_t chunk, std::uint8_t byte) {
    ASSERT_TRUE(cache.store(chunk, 0, Bytes(static_cast<std::size_t>(cache.layout().record_bytes(chunk)), byte)));
    cache.mark(chunk);
  }
  std::vector<std::string> names() const {
    std::vector<std::string> found;
    for (const auto& entry : fs::directory_iterator(dir_)) found.push_back(entry.path().filename());
    std::ranges::sort(found);
    return found;
  }
  std::string dir_;
};

TEST_F(CacheTest, BothKindsGiveBackWhatWasMarkedAndKnowWhatIsThere) {
  for (const bool disk : {false, true}) {
    auto cache = value_or_throw(disk ? open(2500) : Cache::in_memory(Digest{1}, layout(2500)));
    EXPECT_FALSE(cache->complete());
    ASSERT_TRUE(cache->store(1, 0, Bytes(1044, 3)));
    EXPECT_FALSE(cache->present(1)) << "stored is not verified";
    put(*cache, 2, 9);
    put(*cache, 0, 7);
    Bytes got(472);
    ASSERT_TRUE(cache->read_record(2, got));
    EXPECT_EQ(got, Bytes(472, 9));
    cache->mark(1);
    EXPECT_TRUE(cache->complete());
    cache->forget(1);
    EXPECT_FALSE(cache->complete());
    EXPECT_FALSE(cache->store(0, 0, Bytes(1045))) << "more than the record";
    EXPECT_FALSE(cache->store(0, 2, Bytes(1043)));
    EXPECT_EQ(cache->size(), 32U + 2 * 1044 + 472);
    Bytes beyond(33);
    EXPECT_FALSE(cache->read_at(cache->size() - 32, beyond));
  }
}

TEST_F(CacheTest, TheNextRunFindsWhatWasMarked) {
  const tbenc::Header header{1024, {1, 2, 3, 4}};
  {
    auto cache = value_or_throw(open(20 * 1024));
    EXPECT_FALSE(cache->header());
    ASSERT_TRUE(cache->store_header(header));
    for (const std::uint64_t chunk : {0U, 3U, 8U, 19U}) put(*cache, chunk, static_cast<std::uint8_t>(chunk));
    put(*cache, 5, 5);
    cache->forget(5);
    ASSERT_TRUE(cache->store(6, 0, Bytes(1044)));
  }
  auto cache = value_or_throw(open(20 * 1024));
  EXPECT_EQ(value_or_throw(cache->header()), header);
  for (std::uint64_t chunk = 0; chunk < 20; ++chunk) {
    EXPECT_EQ(cache->present(chunk), chunk == 0 || chunk == 3 || chunk == 8 || chunk == 19) << chunk;
  }
  Bytes got(1044);
  ASSERT_TRUE(cache->read_record(8, got));
  EXPECT_EQ(got, Bytes(1044, 8));
}

TEST_F(CacheTest, WhatIsDamagedIsMadeAnew) {
  const auto damage = [&](const std::string& suffix, const std::function<void(const std::string&)>& how) {
    fs::remove_all(dir_);
    {
      put(*value_or_throw(open(5000)), 2, 1);
    }
    for (const std::string& name : names()) {
      if (name.ends_with(suffix)) how(dir_ + "/" + name);
    }
    auto cache = value_or_throw(open(5000));
    EXPECT_FALSE(cache->present(2)) << suffix;
    put(*cache, 2, 1);
  };
  damage(".journal", [](const std::string& path) { fs::resize_file(path, 10); });
  damage(".journal", [](const std::string& path) { fs::resize_file(path, 1000); });
  damage(".journal", [](const std::string& path) { std::ofstream(path) << "nonsense"; });
  damage(".journal", [](const std::string& path) { fs::remove(path); });
  damage(".ciphertext", [](const std::string& path) { fs::resize_file(path, 100); });
  damage(".ciphertext", [](const std::string& path) { fs::remove(path); });
}

TEST_F(CacheTest, AnotherProcessGetsFilesOfItsOwnWithoutAName) {
  auto first = value_or_throw(open(5000));
  put(*first, 2, 1);
  auto second = value_or_throw(open(5000));
  EXPECT_FALSE(second->present(2));
  put(*second, 3, 1);
  EXPECT_FALSE(first->present(3));
  EXPECT_EQ(names().size(), 2U);
}

TEST_F(CacheTest, FilesAreOursAloneAndTheDirectoryToo) {
  auto cache = value_or_throw(open(5000));
  struct stat st{};
  ASSERT_EQ(stat(dir_.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0700U);
  for (const std::string& name : names()) {
    ASSERT_EQ(stat((dir_ + "/" + name).c_str(), &st), 0);
    EXPECT_EQ(st.st_mode & 07777, 0600U);
  }
  cache.reset();
  chmod(dir_.c_str(), 0777);
  EXPECT_EQ(open(5000).error().reason, "path_unsafe");
}

TEST_F(CacheTest, LinksAreNotFollowed) {
  {
    value_or_throw(open(5000));
  }
  const std::string victim = dir_ + "-victim";
  std::ofstream(victim) << "precious";
  for (const std::string& name : names()) {
    const std::string path = dir_ + "/" + name;
    fs::rename(path, path + ".aside");
    fs::create_symlink(victim, path);
    EXPECT_FALSE(open(5000)) << name;
    fs::remove(path);
    fs::rename(path + ".aside", path);
  }
  std::ifstream in(victim);
  std::string text;
  in >> text;
  EXPECT_EQ(text, "precious");
  fs::remove(victim);
  EXPECT_TRUE(open(5000));
}

TEST_F(CacheTest, WhatDoesNotFitIsSaidAtOnceAndTheNextRunIsNotHarmed) {
  auto memory = Cache::in_memory(Digest{1}, layout(std::uint64_t{1} << 40));
  ASSERT_FALSE(memory);
  EXPECT_EQ(memory.error().reason, "memory_short");
  auto disk =
      Cache::on_disk(dir_, Digest{1}, value_or_throw(tbenc::Layout::from_plaintext(std::uint64_t{1} << 50, 64U << 20)));
  ASSERT_FALSE(disk);
  EXPECT_EQ(disk.error().reason, "disk_full");
  EXPECT_TRUE(open(5000));
}

/// A disk of 4 MiB of the test's own: needs the right to mount.
class SmallDisk : public CacheTest {
 protected:
  void SetUp() override {
    CacheTest::SetUp();
    fs::create_directory(dir_);
    mounted_ = std::system(("mount -t tmpfs -o size=4m,mode=0700 small " + dir_ + " 2>/dev/null").c_str()) == 0;
    if (!mounted_) GTEST_SKIP() << "needs the right to mount";
  }
  void TearDown() override {
    if (mounted_) EXPECT_EQ(std::system(("umount " + dir_).c_str()), 0);
    CacheTest::TearDown();
  }
  bool mounted_ = false;
};

TEST_F(SmallDisk, YesterdaysVersionGoesWhenRoomIsNeededAndNotBefore) {
  {
    put(*value_or_throw(open(1500 * 1024, 1)), 0, 1);
  }
  {
    put(*value_or_throw(open(1500 * 1024, 2)), 0, 1);
  }
  EXPECT_EQ(names().size(), 4U) << "both fit";
  auto used = value_or_throw(open(1500 * 1024, 2));
  auto third = value_or_throw(open(1500 * 1024, 3));
  EXPECT_EQ(names().size(), 4U) << "the oldest went";
  EXPECT_TRUE(used->present(0));
  auto fourth = open(1500 * 1024, 4);
  ASSERT_FALSE(fourth) << "the others are in use";
  EXPECT_EQ(fourth.error().reason, "disk_full");
  EXPECT_TRUE(used->present(0));
}

TEST_F(SmallDisk, ADiskThatFillsUpElsewhereDoesNotReachWhatIsReserved) {
  auto cache = value_or_throw(open(1500 * 1024));
  std::ofstream filler(dir_ + "/filler");
  while (filler << std::string(65536, 'x') << std::flush) {
  }
  for (std::uint64_t chunk = 0; chunk < 1500; ++chunk) put(*cache, chunk, 1);
  EXPECT_TRUE(cache->complete());
}

}  // namespace
}  // namespace tb::hydrate
