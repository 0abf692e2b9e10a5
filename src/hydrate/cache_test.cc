#include "hydrate/cache.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

#include "base/crypto.h"

namespace tb::hydrate {
namespace {

namespace fs = std::filesystem;

class CacheTest : public testing::TestWithParam<CacheKind> {
 protected:
  void SetUp() override { dir_ = testing::TempDir() + "/tb-cache-" + random_token(9); }
  void TearDown() override { fs::remove_all(dir_); }
  Result<std::shared_ptr<Cache>> make(std::uint64_t plain) const {
    return Cache::create(GetParam(), dir_, value_or_throw(tbenc::Layout::from_plaintext(plain, 1024)), header_);
  }
  std::string dir_;
  tbenc::Header header_{1024, {1, 2, 3, 4}};
};

TEST_P(CacheTest, GivesBackWhatWasWrittenAndKnowsWhatIsThere) {
  auto cache = value_or_throw(make(2500));
  EXPECT_FALSE(cache->complete());
  const Bytes record(1044, 7), last(472, 9);
  ASSERT_TRUE(cache->write_record(2, last));
  ASSERT_TRUE(cache->write_record(0, record));
  EXPECT_TRUE(cache->present(0));
  EXPECT_FALSE(cache->present(1));
  Bytes got(472);
  ASSERT_TRUE(cache->read_record(2, got));
  EXPECT_EQ(got, last);
  ASSERT_TRUE(cache->write_record(1, record));
  EXPECT_TRUE(cache->complete());
  cache->forget(1);
  EXPECT_FALSE(cache->complete());
}

TEST_P(CacheTest, ReadsAsTheFileItself) {
  auto cache = value_or_throw(make(2500));
  EXPECT_EQ(cache->size(), 32U + 2 * 1044 + 472);
  Bytes header(32);
  ASSERT_TRUE(cache->read_at(0, header));
  EXPECT_EQ(value_or_throw(tbenc::parse_header(header)), header_);
  Bytes beyond(33);
  EXPECT_FALSE(cache->read_at(cache->size() - 32, beyond));
}

TEST_P(CacheTest, RecordOfAnotherSizeIsRefused) {
  auto cache = value_or_throw(make(2500));
  EXPECT_FALSE(cache->write_record(0, Bytes(1043)));
  EXPECT_FALSE(cache->present(0));
}

TEST_P(CacheTest, WaitsForARecordUntilStopped) {
  auto cache = value_or_throw(make(2500));
  std::jthread writer([&] { EXPECT_TRUE(cache->write_record(1, Bytes(1044))); });
  EXPECT_TRUE(cache->wait_for(1, {}));
  std::stop_source stop;
  stop.request_stop();
  EXPECT_FALSE(cache->wait_for(0, stop.get_token()));
}

TEST_P(CacheTest, LeavesNoNameBehind) {
  auto cache = value_or_throw(make(2500));
  if (GetParam() == CacheKind::kDisk) {
    EXPECT_TRUE(fs::is_empty(dir_));
  } else {
    EXPECT_FALSE(fs::exists(dir_));
  }
}

TEST_P(CacheTest, WhatDoesNotFitIsSaidAtOnce) {
  auto cache = make(std::uint64_t{1} << 56);
  ASSERT_FALSE(cache);
  EXPECT_EQ(cache.error().reason, GetParam() == CacheKind::kDisk ? "disk_full" : "memory_short");
}

INSTANTIATE_TEST_SUITE_P(Kinds, CacheTest, testing::Values(CacheKind::kDisk, CacheKind::kMemory),
                         [](const auto& test) { return test.param == CacheKind::kDisk ? "Disk" : "Memory"; });

}  // namespace
}  // namespace tb::hydrate
