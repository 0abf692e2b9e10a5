// Chunks that are asked for before they have come: what a lazy mount does. spec: tbenc-v1 3, 5; wire 2.2 (TB_HYDRATE)
#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "hydrate/hydration_case.h"

namespace tb::hydrate {
namespace {

constexpr std::uint64_t kChunks = 50;

/// One chunk; its reason if it fails, "" if it is what was sealed.
std::string read_chunk(Case& c, std::uint64_t chunk, std::stop_token stop = {}) {
  const tbenc::Layout& layout = c.hydration->layout();
  Bytes plain(layout.chunk_plain_bytes(chunk), 0xee);
  if (auto opened = c.hydration->open_chunk(chunk, plain, stop); !opened) {
    EXPECT_EQ(plain, Bytes(plain.size()));
    return opened.error().reason;
  }
  EXPECT_TRUE(std::equal(plain.begin(), plain.end(),
                         c.sample.plain.begin() + static_cast<std::ptrdiff_t>(layout.plain_offset(chunk))));
  return "";
}

/// Flips a bit of what is kept.
void damage(Cache& cache, std::uint64_t chunk) {
  Bytes record(static_cast<std::size_t>(cache.layout().record_bytes(chunk)));
  ASSERT_TRUE(cache.read_record(chunk, record));
  record[100] ^= 1;
  ASSERT_TRUE(cache.store(chunk, 0, record));
}

TEST(OnDemand, OneChunkCostsTheHeaderAndThatChunk) {
  for (const CacheKind kind : {CacheKind::kDisk, CacheKind::kMemory, CacheKind::kNone}) {
    Case c(nullptr, {.cache = kind});
    c.start().prepare(true, {});
    EXPECT_TRUE(c.hydration->may_serve_at_once());
    EXPECT_EQ(read_chunk(c, 33), "");
    EXPECT_EQ(c.server.requests(), 2);
    EXPECT_EQ(read_chunk(c, 33), "");
    EXPECT_EQ(c.server.requests(), kind == CacheKind::kNone ? 3 : 2);
    EXPECT_EQ(c.hydration->progress().bytes, 32U + 4116U);
  }
}

TEST(OnDemand, StrictAndManifestsWithoutMacMayNotServeAtOnce) {
  Case strict(nullptr, {.mode = Mode::kStrict});
  EXPECT_FALSE(strict.start().may_serve_at_once());
  SealedSample sample = SealedSample::make(blob::sample_pattern(50'000), 4096);
  const asset::Manifest old = sample.without_mac();
  Case c(std::move(sample), nullptr, {});
  c.asset = {old, {.digest = true}};
  EXPECT_FALSE(c.start().may_serve_at_once());
}

TEST(OnDemand, ReadersAndWorkersFetchEachChunkOnce) {
  for (const CacheKind kind : {CacheKind::kDisk, CacheKind::kMemory}) {
    Case c(nullptr, {.cache = kind, .request_bytes = 1});
    c.start().prepare(true, {});
    {
      std::vector<std::jthread> readers;
      for (std::uint64_t reader = 0; reader < 6; ++reader) {
        readers.emplace_back([&c, reader] {
          for (std::uint64_t n = 0; n < kChunks; ++n) {
            EXPECT_EQ(read_chunk(c, (kChunks - 1 - n) * (2 * reader + 1) % kChunks), "");
          }
        });
      }
      c.hydration->verify(nullptr, {});
    }
    EXPECT_EQ(c.server.requests(), 1 + static_cast<int>(kChunks));
    EXPECT_EQ(c.hydration->progress().bytes, c.hydration->progress().total);
  }
}

TEST(OnDemand, WorkersGoOnBehindTheReader) {
  std::atomic<bool> hold = true;
  std::mutex mutex;
  std::vector<std::uint64_t> asked_for;
  Case c(
      [&](const Asked& asked, Reply&) {
        const std::lock_guard lock(mutex);
        if (asked.range && asked.range->first > 32) asked_for.push_back((asked.range->first - 32) / 4116);
      },
      {.connections = 1, .request_bytes = 1});
  c.options.paced = [&](std::uint64_t, const std::stop_token&) {
    while (hold) std::this_thread::yield();
  };
  c.start().prepare(true, {});
  std::jthread worker([&] { c.hydration->verify(nullptr, {}); });
  std::jthread reader([&] { EXPECT_EQ(read_chunk(c, 40), ""); });
  const auto requests = [&] {
    const std::lock_guard lock(mutex);
    return asked_for.size();
  };
  while (requests() < 1) std::this_thread::yield();
  hold = false;
  reader.join();
  worker.join();
  // Chunk 0 is at byte 32 and not in the list: the worker had it in hands, then it went on behind the reader's.
  const auto at = [&](std::uint64_t chunk) { return std::ranges::find(asked_for, chunk) - asked_for.begin(); };
  EXPECT_LT(at(41), at(5));
  EXPECT_LT(at(45), at(5));
}

TEST(OnDemand, ADamagedRecordOfTheCacheIsFetchedAgainAlone) {
  Case c(nullptr, {.cache = CacheKind::kDisk});
  ASSERT_EQ(c.outcome_on_demand(), "");
  const int before = c.server.requests();
  damage(*c.hydration->cache(), 7);
  EXPECT_EQ(read_chunk(c, 7), "");
  EXPECT_EQ(c.server.requests(), before + 1);
  EXPECT_EQ(read_chunk(c, 7), "");
  EXPECT_EQ(c.server.requests(), before + 1);
}

TEST(OnDemand, ADamagedRecordIsAnErrorWhereTheFilesHashWasTheProof) {
  SealedSample sample = SealedSample::make(blob::sample_pattern(50'000), 4096);
  const asset::Manifest old = sample.without_mac();
  Case c(std::move(sample), nullptr, {});
  c.asset = {old, {.digest = true}};
  ASSERT_EQ(c.outcome_on_demand(), "");
  const int before = c.server.requests();
  damage(*c.hydration->cache(), 7);
  EXPECT_EQ(read_chunk(c, 7), "tag_mismatch") << "what would be fetched now was not in that hash";
  EXPECT_EQ(c.server.requests(), before);
}

TEST(OnDemand, AChunkThatIsTamperedFailsAndTheOthersAreServed) {
  SealedSample sample = SealedSample::make(blob::sample_pattern(49 * 4096 + 17), 4096);
  sample.ciphertext[32 + 10 * 4116 + 50] ^= 1;
  Case c(std::move(sample), nullptr, {});
  c.start().prepare(true, {});
  EXPECT_EQ(read_chunk(c, 10), "tag_mismatch");
  EXPECT_EQ(read_chunk(c, 11), "");
  EXPECT_EQ(read_chunk(c, 10), "tag_mismatch");
  try {
    c.hydration->verify(nullptr, {});
    FAIL() << "the pass saw nothing";
  } catch (const Error& error) {
    EXPECT_EQ(error.reason, "tag_mismatch");
  }
}

TEST(OnDemand, APassThatFailedLeavesNothingInItsHands) {
  for (int round = 0; round < 10; ++round) {
    SealedSample sample = SealedSample::make(blob::sample_pattern(49 * 4096 + 17), 4096);
    sample.ciphertext[32 + 10 * 4116 + 50] ^= 1;
    Case c(std::move(sample), nullptr, {.connections = 8, .request_bytes = 1});
    c.start().prepare(true, {});
    EXPECT_THROW(c.hydration->verify(nullptr, {}), Error);
    for (std::uint64_t chunk = 0; chunk < kChunks; ++chunk) {
      EXPECT_EQ(read_chunk(c, chunk), chunk == 10 ? "tag_mismatch" : "");
    }
  }
}

TEST(OnDemand, AStoppedReaderLeavesAndTheOthersStay) {
  std::atomic<bool> hold = true;
  Case c(nullptr, {.request_bytes = 1});
  c.options.paced = [&](std::uint64_t, const std::stop_token& stop) {
    while (hold && !stop.stop_requested()) std::this_thread::yield();
    if (stop.stop_requested()) throw Error("cancelled", "stopped");
  };
  c.start().prepare(true, {});
  std::stop_source stop;
  std::jthread first([&] { EXPECT_EQ(read_chunk(c, 5, stop.get_token()), "cancelled"); });
  std::jthread second([&] { EXPECT_EQ(read_chunk(c, 6), ""); });
  std::jthread third([&] { EXPECT_EQ(read_chunk(c, 5), ""); });
  while (c.server.requests() < 3) std::this_thread::yield();
  stop.request_stop();
  first.join();
  hold = false;
}

TEST(OnDemand, EveryChunkIsOfferedToTheDeliveryAsItVerifies) {
  struct Offered final : asset::ChunkSink {
    Result<> begin(const asset::Manifest&, const tbenc::Layout&) override { return {}; }
    Result<> chunk(std::uint64_t index, ByteView plain) override {
      const std::lock_guard lock(mutex);
      seen.insert(index);
      bytes += plain.size();
      return {};
    }
    Result<> finish() override { return {}; }
    void abort(const Error&) override {}
    std::mutex mutex;
    std::set<std::uint64_t> seen;
    std::uint64_t bytes = 0;
  } offered;
  Case c;
  c.start().prepare(true, {});
  EXPECT_EQ(read_chunk(c, 3), "");
  c.hydration->verify(&offered, {});
  EXPECT_EQ(offered.seen.size(), kChunks - 1) << "what a reader took needs no offer";
  EXPECT_FALSE(offered.seen.contains(3));
}

TEST(OnDemand, WhatIsNotThereIsRefused) {
  Case c;
  c.start();
  Bytes plain(4096, 1);
  EXPECT_EQ(c.hydration->open_chunk(0, plain, {}).error().reason, "range_invalid") << "not prepared";
  c.hydration->prepare(true, {});
  EXPECT_EQ(c.hydration->open_chunk(50, plain, {}).error().reason, "range_invalid");
  EXPECT_EQ(c.hydration->open_chunk(49, plain, {}).error().reason, "range_invalid") << "the last is shorter";
}

}  // namespace
}  // namespace tb::hydrate
