// spec: tbenc-v1 3, 5; wire 1.1, 2.2
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "hydrate/hydration_case.h"

namespace tb::hydrate {
namespace {

TEST(Hydration, BringsEveryChunkOnceInEveryMode) {
  for (const Mode mode : {Mode::kOverlap, Mode::kStrict}) {
    for (const CacheKind cache : {CacheKind::kDisk, CacheKind::kMemory}) {
      Case c(nullptr, {.mode = mode, .cache = cache});
      Collector sink;
      EXPECT_EQ(c.outcome(sink), "");
      EXPECT_EQ(sink.seen.size(), 50U);
    }
  }
}

TEST(Hydration, SizesAroundChunkBordersAndConnections) {
  for (const std::size_t bytes : {0U, 1U, 4095U, 4096U, 4097U, 8192U, 30000U}) {
    for (const unsigned connections : {0U, 1U, 3U, 32U}) {
      Case c(nullptr, {.connections = connections, .request_bytes = 1024}, bytes);
      EXPECT_EQ(c.outcome(), "") << bytes;
    }
  }
}

TEST(Hydration, AsksForHeaderAndRangesOnly) {
  Case c;
  ASSERT_EQ(c.outcome(), "");
  // 16384 bytes are four chunks of 4096: 13 ranges for 50 chunks, and the header.
  EXPECT_EQ(c.server.requests(), 14);
}

TEST(Hydration, FaultsInTheMiddleAreMended) {
  std::atomic<int> faults = 0;
  Case c([&](const Asked& asked, Reply& reply) {
    switch (asked.number % 7) {
      case 1:
        reply.reset_after = 5000;
        break;
      case 2:
        reply = {.status = 503, .headers = {{"Retry-After", "0"}}};
        break;
      case 4:
        reply.content_length = reply.body.size();
        reply.body.resize(reply.body.size() / 2);
        break;
      case 5:
        reply = {.status = 429};
        break;
      default:
        return;
    }
    ++faults;
  });
  EXPECT_EQ(c.outcome(), "");
  EXPECT_GT(faults, 5);
}

TEST(Hydration, StalledConnectionIsTriedAgain) {
  Case c([](const Asked& asked, Reply& reply) {
    if (asked.number == 3) reply.stall_after = 1000;
  });
  EXPECT_EQ(c.outcome(), "");
}

TEST(Hydration, ServerThatNeverMendsEndsIt) {
  Case c([](const Asked& asked, Reply& reply) {
    if (asked.range && asked.range->first > 60'000) reply = {.status = 500};
  });
  Collector sink;
  EXPECT_EQ(c.outcome(sink), "blob_unavailable");
  EXPECT_TRUE(sink.aborted);
}

TEST(Hydration, ExpiredUrlIsRenewedAndTheDownloadGoesOn) {
  Case c([](const Asked& asked, Reply& reply) {
    if (asked.number > 5 && asked.target.find("sig=first") != std::string::npos) reply = {.status = 403};
  });
  EXPECT_EQ(c.outcome(), "");
}

TEST(Hydration, ReplacedBlobIsNeverMixed) {
  Case c([](const Asked& asked, Reply& reply) {
    if (asked.number > 5) reply.headers["ETag"] = "\"two\"";
  });
  Collector sink;
  EXPECT_EQ(c.outcome(sink), "blob_changed");
  EXPECT_TRUE(sink.aborted);
}

SealedSample damaged(const std::function<void(SealedSample&)>& damage) {
  SealedSample sample = SealedSample::make(blob::sample_pattern(49 * 4096 + 17), 4096);
  damage(sample);
  return sample;
}

struct Damage {
  const char* name;
  std::function<void(SealedSample&)> make;
  const char* reason;
};

class Damaged : public testing::TestWithParam<Damage> {};

/// In every mode; in strict nothing at all may have reached the sink.
TEST_P(Damaged, GivesNothingUsable) {
  for (const Mode mode : {Mode::kOverlap, Mode::kStrict}) {
    Case c(damaged(GetParam().make), nullptr, {.mode = mode});
    Collector sink;
    EXPECT_EQ(c.outcome(sink), GetParam().reason);
    EXPECT_FALSE(sink.finished);
    if (mode == Mode::kStrict) EXPECT_TRUE(sink.seen.empty());
  }
}

INSTANTIATE_TEST_SUITE_P(
    Hydration, Damaged,
    testing::Values(Damage{"FlippedBit", [](SealedSample& s) { s.ciphertext[100'000] ^= 1; }, "tag_mismatch"},
                    Damage{"FlippedTag", [](SealedSample& s) { s.ciphertext.back() ^= 1; }, "tag_mismatch"},
                    Damage{"WrongKey", [](SealedSample& s) { s.key = random_key(); }, "tag_mismatch"},
                    Damage{"SwappedRecords",
                           [](SealedSample& s) {
                             std::swap_ranges(s.ciphertext.begin() + 32, s.ciphertext.begin() + 32 + 4116,
                                              s.ciphertext.begin() + 32 + 4116);
                           },
                           "tag_mismatch"},
                    Damage{"OtherPrefix", [](SealedSample& s) { s.ciphertext[15] ^= 1; }, "nonce_prefix_mismatch"},
                    Damage{"OtherChunkBytes", [](SealedSample& s) { s.ciphertext[14] ^= 1; }, "header_mismatch"},
                    Damage{"NoHeader", [](SealedSample& s) { s.ciphertext[0] = 'X'; }, "header_malformed"},
                    Damage{"LastRecordMissing", [](SealedSample& s) { s.ciphertext.resize(s.ciphertext.size() - 37); },
                           "ciphertext_truncated"},
                    Damage{"ByteMissing", [](SealedSample& s) { s.ciphertext.pop_back(); }, "ciphertext_truncated"},
                    Damage{"ByteTooMany", [](SealedSample& s) { s.ciphertext.push_back(0); }, "trailing_bytes"},
                    Damage{"Header only", [](SealedSample& s) { s.ciphertext.resize(32); }, "ciphertext_truncated"},
                    Damage{"Nothing", [](SealedSample& s) { s.ciphertext.clear(); }, "range_outside_blob"}),
    [](const auto& test) {
      std::string name = test.param.name;
      std::erase(name, ' ');
      return name;
    });

TEST(HydrationWithoutMac, IsHashedBeforeAnythingIsReleased) {
  for (const std::size_t bytes : {0U, 1U, 50'000U}) {
    SealedSample sample = SealedSample::make(blob::sample_pattern(bytes), 4096);
    const asset::Manifest old = sample.without_mac();
    Case c(std::move(sample), nullptr, {.mode = Mode::kOverlap});
    c.asset = {old, {.digest = true}};
    EXPECT_EQ(c.outcome(), "");
  }
}

TEST(HydrationWithoutMac, AnotherDigestReleasesNothing) {
  SealedSample sample = SealedSample::make(blob::sample_pattern(50'000), 4096);
  Json document = sample.without_mac().document();
  document.set("sha256_ciphertext", std::string(64, 'a'));
  const auto lying = value_or_throw(asset::Manifest::from_json(document));
  Case c(std::move(sample), nullptr, {.mode = Mode::kOverlap});
  c.asset = {lying, {.metadata = true}};
  Collector sink;
  EXPECT_EQ(c.outcome(sink), "ciphertext_digest_mismatch");
  EXPECT_TRUE(sink.seen.empty());
  EXPECT_TRUE(sink.aborted);
  EXPECT_FALSE(c.hydration->cache()->present(0)) << "wrong ciphertext is not kept";
}

TEST(HydrationCache, SecondRunDownloadsNothing) {
  Case c(nullptr, {.mode = Mode::kOverlap, .cache = CacheKind::kDisk});
  ASSERT_EQ(c.outcome(), "");
  const int before = c.server.requests();
  EXPECT_EQ(c.outcome(), "");
  EXPECT_EQ(c.server.requests(), before);
  EXPECT_EQ(c.hydration->progress().from_cache_bytes, c.hydration->progress().total);
}

TEST(HydrationCache, DamagedRecordIsFetchedAgainAlone) {
  Case c(nullptr, {.mode = Mode::kOverlap, .cache = CacheKind::kDisk});
  ASSERT_EQ(c.outcome(), "");
  const int before = c.server.requests();
  Bytes record(4116);
  auto cache = c.hydration->cache();
  ASSERT_TRUE(cache->read_record(7, record));
  record[100] ^= 1;
  ASSERT_TRUE(cache->store(7, 0, record));
  cache.reset();
  EXPECT_EQ(c.outcome(), "");
  EXPECT_EQ(c.server.requests(), before + 1);
  cache = c.hydration->cache();
  ASSERT_TRUE(cache->read_record(7, record));
  EXPECT_TRUE(std::equal(record.begin(), record.end(), c.sample.ciphertext.begin() + 32 + 7 * 4116));
}

TEST(HydrationCache, InterruptedDownloadContinuesWhereItWas) {
  std::atomic<bool> broken = true;
  Case c(
      [&](const Asked& asked, Reply& reply) {
        if (broken && asked.range && asked.range->first > 100'000) reply = {.status = 404};
      },
      {.cache = CacheKind::kDisk, .connections = 1});
  ASSERT_EQ(c.outcome(), "blob_not_found");
  broken = false;
  ASSERT_EQ(c.outcome(), "");
  EXPECT_GT(c.hydration->progress().from_cache_bytes, 90'000U);
}

TEST(HydrationCache, WhatIsVerifiedIsServedFromThere) {
  for (const CacheKind kind : {CacheKind::kDisk, CacheKind::kMemory}) {
    for (const Mode mode : {Mode::kOverlap, Mode::kStrict}) {
      Case c(nullptr, {.mode = mode, .cache = kind});
      ASSERT_EQ(c.outcome_on_demand(), "");
      EXPECT_EQ(c.server.requests(), 14);
      Bytes all(static_cast<std::size_t>(c.hydration->cache()->size()));
      ASSERT_TRUE(c.hydration->cache()->read_at(0, all));
      EXPECT_EQ(all, c.sample.ciphertext);
    }
  }
}

TEST(HydrationCache, WhatIsKeptInMemoryServesTheNextRun) {
  Case c;
  ASSERT_EQ(c.outcome_on_demand(), "");
  const int before = c.server.requests();
  Hydration next(c.options, c.asset, c.sample.key.clone(), c.source, c.hydration->cache());
  next.prepare(true, {});
  next.verify(nullptr, {});
  EXPECT_EQ(c.server.requests(), before);
  EXPECT_EQ(next.progress().from_cache_bytes, next.progress().total);
}

TEST(HydrationCache, AnotherManifestsCacheIsNotUsed) {
  Case c;
  ASSERT_EQ(c.outcome_on_demand(), "");
  Case other(SealedSample::make(blob::sample_pattern(49 * 4096 + 17), 4096), nullptr, {});
  Hydration next(other.options, other.asset, other.sample.key.clone(), other.source, c.hydration->cache());
  next.prepare(true, {});
  EXPECT_NE(next.cache(), c.hydration->cache());
  next.verify(nullptr, {});
}

TEST(HydrationCache, OverlapInMemoryKeepsNoSecondCopy) {
  Case c(nullptr, {.mode = Mode::kOverlap, .cache = CacheKind::kMemory});
  ASSERT_EQ(c.outcome(), "");
  EXPECT_EQ(c.hydration->cache(), nullptr);
}

TEST(HydrationCache, AFullDiskIsSaidBeforeAnythingIsFetched) {
  Case c(nullptr, {.cache = CacheKind::kDisk});
  c.options.cache_directory = "/dev/full/nowhere";
  Collector sink;
  EXPECT_NE(c.outcome(sink), "");
  EXPECT_EQ(c.server.requests(), 0);
}

TEST(Hydration, SinkThatRefusesEndsIt) {
  Case c;
  Collector sink;
  sink.refuse_at = 20;
  EXPECT_EQ(c.outcome(sink), "memory_short");
  EXPECT_TRUE(sink.aborted);
}

TEST(Hydration, StopEndsItWhileItWaits) {
  Case c([](const Asked& asked, Reply& reply) {
    if (asked.number > 3) reply.stall_after = 10;
  });
  std::jthread stopper([&] {
    while (c.server.requests() < 4) std::this_thread::yield();
    c.stop.request_stop();
  });
  Collector sink;
  EXPECT_EQ(c.outcome(sink), "cancelled");
  EXPECT_TRUE(sink.aborted);
}

}  // namespace
}  // namespace tb::hydrate
