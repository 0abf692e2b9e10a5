// spec: tbenc-v1 3, 5; wire 1.1, 2.2
#include "hydrate/hydration.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <set>
#include <thread>

#include "blob/http_source.h"
#include "blob/lying_server.h"
#include "blob/sealed_sample.h"

namespace tb::hydrate {
namespace {

using blob::LyingServer;
using blob::SealedSample;
using Asked = LyingServer::Asked;
using Reply = LyingServer::Reply;

/// Collects plaintext and holds the order of calls to the contract of ChunkSink.
class Collector final : public asset::ChunkSink {
 public:
  explicit Collector(bool in_order = false) : in_order_(in_order) {}
  bool in_order() const override { return in_order_; }
  Result<> begin(const asset::Manifest&, const tbenc::Layout& layout) override {
    const std::lock_guard lock(mutex_);
    EXPECT_FALSE(layout_);
    layout_ = layout;
    plain.assign(static_cast<std::size_t>(layout.plaintext_bytes()), 0);
    return {};
  }
  Result<> chunk(std::uint64_t index, ByteView bytes) override {
    const std::lock_guard lock(mutex_);
    EXPECT_TRUE(layout_ && !finished && !aborted);
    EXPECT_TRUE(seen.insert(index).second) << "chunk " << index << " came twice";
    if (in_order_) EXPECT_EQ(index + 1, seen.size());
    EXPECT_EQ(bytes.size(), layout_->chunk_plain_bytes(index));
    std::ranges::copy(bytes, plain.begin() + static_cast<std::ptrdiff_t>(layout_->plain_offset(index)));
    if (refuse_at == index) return fail("memory_short", "the sink is full");
    return {};
  }
  Result<> finish() override {
    finished = true;
    return {};
  }
  void abort(const Error&) override {
    EXPECT_FALSE(finished);
    aborted = true;
  }

  Bytes plain;
  std::set<std::uint64_t> seen;
  std::optional<std::uint64_t> refuse_at;
  bool finished = false, aborted = false;

 private:
  bool in_order_;
  std::mutex mutex_;
  std::optional<tbenc::Layout> layout_;
};

struct Settings {
  Mode mode = Mode::kOverlap;
  CacheKind cache = CacheKind::kMemory;
  unsigned connections = 4;
  std::uint64_t request_bytes = 16384;
};

/// An asset of 50 chunks behind a server; a lie may be told and the ciphertext damaged.
struct Case {
  explicit Case(LyingServer::OnRequest lie = nullptr, Settings settings = {}, std::size_t bytes = 49 * 4096 + 17)
      : Case(SealedSample::make(blob::sample_pattern(bytes), 4096), std::move(lie), settings) {}
  Case(SealedSample of, LyingServer::OnRequest lie, Settings settings)
      : sample(std::move(of)),
        asset{sample.manifest, {.mac = true}},
        server(sample.ciphertext, std::move(lie)),
        client({.stall_timeout_ms = 1000, .use_proxy_environment = false}),
        urls(std::make_shared<blob::UrlProvider>(SecretUrl(server.url()), [this] { return SecretUrl(renewed); })),
        source(client, urls),
        renewed(server.url("/model.tbenc?sig=second")),
        hydration({.connections = settings.connections,
                   .request_bytes = settings.request_bytes,
                   .mode = settings.mode,
                   .cache = settings.cache,
                   .cache_directory = testing::TempDir(),
                   .backoff = {.first_ms = 1, .max_ms = 5, .attempts = 30}}) {}

  /// The reason of the failure, or "" and the plaintext is the one that was sealed.
  std::string outcome(Collector& sink, bool takes_chunks = true) {
    try {
      hydration.run(asset, sample.key, source, sink, takes_chunks, stop.get_token());
    } catch (const Error& error) {
      EXPECT_TRUE(!sink.finished);
      return error.reason;
    }
    EXPECT_TRUE(sink.finished);
    if (takes_chunks) EXPECT_EQ(sink.plain, sample.plain);
    return "";
  }
  std::string outcome() {
    Collector sink;
    return outcome(sink);
  }

  SealedSample sample;
  AuthenticatedManifest asset;
  LyingServer server;
  http::Client client;
  std::shared_ptr<blob::UrlProvider> urls;
  blob::HttpSource source;
  std::string renewed;
  std::stop_source stop;
  Hydration hydration;
};

TEST(Hydration, BringsEveryChunkOnceInEveryMode) {
  for (const Mode mode : {Mode::kOverlap, Mode::kStrict}) {
    for (const CacheKind cache : {CacheKind::kDisk, CacheKind::kMemory}) {
      for (const bool in_order : {false, true}) {
        Case c(nullptr, {.mode = mode, .cache = cache});
        Collector sink(in_order);
        EXPECT_EQ(c.outcome(sink), "");
        EXPECT_EQ(sink.seen.size(), 50U);
        const Progress progress = c.hydration.progress();
        EXPECT_EQ(progress.bytes, progress.total);
      }
    }
  }
}

TEST(Hydration, SizesAroundChunkBordersAndConnections) {
  for (const std::size_t bytes : {0U, 1U, 4095U, 4096U, 4097U, 8192U, 30000U}) {
    for (const unsigned connections : {1U, 3U, 32U}) {
      Case c(nullptr, {.connections = connections, .request_bytes = 1024}, bytes);
      EXPECT_EQ(c.outcome(), "") << bytes;
    }
  }
}

TEST(Hydration, AsksForHeaderAndRangesOnly) {
  Case c;
  ASSERT_EQ(c.outcome(), "");
  // 16384 bytes hold three records of 4116: 17 ranges for 50 chunks, and the header.
  EXPECT_EQ(c.server.requests(), 18);
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
  EXPECT_EQ(c.hydration.ciphertext(), nullptr) << "wrong ciphertext is not kept";
}

TEST(HydrationCache, SecondRunDownloadsNothing) {
  Case c(nullptr, {.mode = Mode::kOverlap, .cache = CacheKind::kDisk});
  ASSERT_EQ(c.outcome(), "");
  const int before = c.server.requests();
  EXPECT_EQ(c.outcome(), "");
  EXPECT_EQ(c.server.requests(), before);
  EXPECT_EQ(c.hydration.progress().from_cache_bytes, c.hydration.progress().total);
}

TEST(HydrationCache, DamagedRecordIsFetchedAgainAlone) {
  Case c(nullptr, {.mode = Mode::kOverlap, .cache = CacheKind::kDisk});
  ASSERT_EQ(c.outcome(), "");
  const int before = c.server.requests();
  Bytes record(4116);
  auto cache = c.hydration.ciphertext();
  ASSERT_TRUE(cache->read_record(7, record));
  record[100] ^= 1;
  ASSERT_TRUE(cache->write_record(7, record));
  EXPECT_EQ(c.outcome(), "");
  EXPECT_EQ(c.server.requests(), before + 1);
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
  EXPECT_GT(c.hydration.progress().from_cache_bytes, 90'000U);
}

TEST(HydrationCache, SinkThatTakesNoChunksGetsTheVerifiedCiphertext) {
  Case c;
  Collector sink;
  EXPECT_EQ(c.outcome(sink, false), "");
  EXPECT_TRUE(sink.seen.empty());
  auto cache = c.hydration.ciphertext();
  ASSERT_NE(cache, nullptr);
  Bytes all(static_cast<std::size_t>(cache->size()));
  ASSERT_TRUE(cache->read_at(0, all));
  EXPECT_EQ(all, c.sample.ciphertext);
}

TEST(HydrationCache, OverlapInMemoryKeepsNoSecondCopy) {
  Case c(nullptr, {.mode = Mode::kOverlap, .cache = CacheKind::kMemory});
  ASSERT_EQ(c.outcome(), "");
  EXPECT_EQ(c.hydration.ciphertext(), nullptr);
}

TEST(Hydration, SinkThatRefusesEndsIt) {
  for (const bool in_order : {false, true}) {
    Case c;
    Collector sink(in_order);
    sink.refuse_at = 20;
    EXPECT_EQ(c.outcome(sink), "memory_short");
    EXPECT_TRUE(sink.aborted);
  }
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
