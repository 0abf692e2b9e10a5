#include "deliver/chunk_cache.h"

#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <latch>
#include <map>

#include "deliver/chunk_read.h"
#include "deliver/test_chunks.h"

namespace tb::deliver {
namespace {

constexpr std::uint32_t kChunk = 4096;
/// Three slots only: as few as there ever are.
constexpr std::uint32_t kLargeChunk = std::uint32_t{20} << 20;

using test::TestChunks;

/// Waits for the answer of one fetch and checks the chunk's bytes; gives the reason of an error.
std::string reason_of_fetch(ChunkCache& cache, std::uint64_t index) {
  std::latch done(1);
  std::string reason;
  ChunkCache::Waiter waiter = [&](Result<ChunkCache::Pin> pin) {
    if (!pin) reason = pin.error().reason;
    if (pin && !test::is_plain(cache.layout().plain_offset(index), pin->view())) reason = "wrong bytes";
    done.count_down();
  };
  auto fetched = cache.fetch(index, waiter);
  if (!fetched) return fetched.error().reason;
  if (*fetched) return test::is_plain(cache.layout().plain_offset(index), (*fetched)->view()) ? "" : "wrong bytes";
  done.wait();
  return reason;
}

TEST(ChunkCache, OpensAChunkOnceForAllWhoWantIt) {
  auto chunks = std::make_shared<TestChunks>(10 * kChunk, kChunk);
  chunks->block(3);
  ChunkCache cache(chunks, 2);
  std::atomic<int> answered = 0;
  for (int i = 0; i < 100; ++i) {
    ChunkCache::Waiter waiter = [&](Result<ChunkCache::Pin> pin) {
      EXPECT_TRUE(pin && test::is_plain(3 * kChunk, pin->view()));
      ++answered;
      answered.notify_all();
    };
    const auto fetched = cache.fetch(3, waiter);
    ASSERT_TRUE(fetched);
    EXPECT_FALSE(*fetched);
  }
  EXPECT_EQ(reason_of_fetch(cache, 4), "") << "one that blocks does not keep the others";
  EXPECT_EQ(answered, 0);
  chunks->unblock();
  for (int seen = answered; seen != 100; seen = answered) answered.wait(seen);
  EXPECT_EQ(chunks->opened(3), 1);
  EXPECT_TRUE(cache.find(3)) << "and it stays";
}

TEST(ChunkCache, MemoryIsBoundedAndTheLeastLatelyUsedGoes) {
  auto chunks = std::make_shared<TestChunks>(5 * std::uint64_t{kLargeChunk}, kLargeChunk);
  ChunkCache cache(chunks, 1);
  ASSERT_EQ(cache.slot_count(), 3U);
  for (const std::uint64_t index : {0U, 1U, 2U}) EXPECT_EQ(reason_of_fetch(cache, index), "");
  EXPECT_TRUE(cache.find(0)) << "used again, so that 1 is the oldest";
  EXPECT_EQ(reason_of_fetch(cache, 3), "");
  EXPECT_FALSE(cache.find(1));
  EXPECT_TRUE(cache.find(0) && cache.find(2) && cache.find(3));
}

TEST(ChunkCache, PinnedChunksStayAndTheRestGetsOn) {
  auto chunks = std::make_shared<TestChunks>(6 * std::uint64_t{kLargeChunk}, kLargeChunk);
  ChunkCache cache(chunks, 2);
  for (const std::uint64_t index : {0U, 1U}) EXPECT_EQ(reason_of_fetch(cache, index), "");
  auto first = cache.find(0), second = cache.find(1);
  ASSERT_TRUE(first && second);
  for (const std::uint64_t index : {2U, 3U, 4U, 5U}) EXPECT_EQ(reason_of_fetch(cache, index), "");
  EXPECT_TRUE(test::is_plain(0, first->view())) << "through the one slot that was left";
  EXPECT_TRUE(test::is_plain(kLargeChunk, second->view()));
}

TEST(ChunkCache, AllSlotsPinnedIsWaitedOut) {
  auto chunks = std::make_shared<TestChunks>(5 * std::uint64_t{kLargeChunk}, kLargeChunk);
  ChunkCache cache(chunks, 1);
  std::vector<ChunkCache::Pin> pins;
  for (const std::uint64_t index : {0U, 1U, 2U}) {
    EXPECT_EQ(reason_of_fetch(cache, index), "");
    pins.push_back(std::move(*cache.find(index)));
  }
  std::latch done(1);
  ChunkCache::Waiter waiter = [&](Result<ChunkCache::Pin> pin) {
    EXPECT_TRUE(pin);
    done.count_down();
  };
  ASSERT_TRUE(cache.fetch(3, waiter));
  EXPECT_EQ(chunks->opened(3), 0);
  pins.pop_back();
  done.wait();
}

TEST(ChunkCache, AFailureIsTheWaitersAndIsTriedAgain) {
  auto chunks = std::make_shared<TestChunks>(4 * kChunk, kChunk);
  chunks->spoil(2);
  ChunkCache cache(chunks, 2);
  EXPECT_EQ(reason_of_fetch(cache, 2), "tag_mismatch");
  EXPECT_EQ(reason_of_fetch(cache, 1), "");
  chunks->spoil(TestChunks::kNone);
  EXPECT_EQ(reason_of_fetch(cache, 2), "");
}

TEST(ChunkCache, LoadsAheadWithoutBeingWaitedForAndNotBeyondTheEnd) {
  auto chunks = std::make_shared<TestChunks>(4 * kChunk, kChunk);
  ChunkCache cache(chunks, 1);
  cache.load_ahead(3);
  cache.load_ahead(4);
  chunks->wait_opened(3);
  EXPECT_EQ(reason_of_fetch(cache, 3), "");
  EXPECT_EQ(chunks->opened(3), 1);
}

TEST(ChunkCache, WhatWasOpenedElsewhereIsGivenToThoseWhoWait) {
  auto chunks = std::make_shared<TestChunks>(4 * kChunk, kChunk);
  chunks->block(0);
  ChunkCache cache(chunks, 1);
  cache.load_ahead(0);
  chunks->wait_blocked();
  std::latch done(1);
  ChunkCache::Waiter waiter = [&](Result<ChunkCache::Pin> pin) {
    EXPECT_TRUE(pin && test::is_plain(kChunk, pin->view()));
    done.count_down();
  };
  ASSERT_TRUE(cache.fetch(1, waiter));
  cache.put(1, test::plain(kChunk, kChunk));
  done.wait();
  EXPECT_EQ(chunks->opened(1), 0);
  cache.put(2, Bytes(kChunk - 1));
  cache.put(9, Bytes(kChunk));
  EXPECT_FALSE(cache.find(2)) << "not a chunk's size";
  chunks->unblock();
}

void fill(MutableBytes place, std::uint64_t offset) {
  std::ranges::copy(test::plain(offset, place.size()), place.begin());
}

TEST(ChunkCache, AReservedPlaceIsSeenOnceItIsPut) {
  auto chunks = std::make_shared<TestChunks>(8 * kChunk, kChunk);
  ChunkCache cache(chunks, 1);
  const MutableBytes place = cache.reserve(1);
  ASSERT_EQ(place.size(), kChunk);
  EXPECT_TRUE(cache.reserve(1).empty()) << "only one opens it";
  EXPECT_FALSE(cache.find(1));
  std::latch done(1);
  ChunkCache::Waiter waiter = [&](Result<ChunkCache::Pin> pin) {
    EXPECT_TRUE(pin && test::is_plain(kChunk, pin->view()));
    EXPECT_EQ(pin->view().data(), place.data()) << "nothing was copied";
    done.count_down();
  };
  ASSERT_TRUE(cache.fetch(1, waiter));
  fill(place, kChunk);
  cache.put(1, place);
  done.wait();
  EXPECT_EQ(chunks->opened(1), 0);
  EXPECT_TRUE(cache.find(1));
  EXPECT_TRUE(cache.reserve(9).empty());
}

TEST(ChunkCache, AReservedPlaceThatIsLeftIsOpenedForThoseWhoWait) {
  auto chunks = std::make_shared<TestChunks>(8 * kChunk, kChunk);
  ChunkCache cache(chunks, 1);
  ASSERT_FALSE(cache.reserve(1).empty());
  ASSERT_FALSE(cache.reserve(2).empty());
  std::latch done(1);
  ChunkCache::Waiter waiter = [&](Result<ChunkCache::Pin> pin) {
    EXPECT_TRUE(pin && test::is_plain(kChunk, pin->view()));
    done.count_down();
  };
  ASSERT_TRUE(cache.fetch(1, waiter));
  cache.leave(1);
  cache.leave(2);
  done.wait();
  EXPECT_EQ(chunks->opened(1), 1);
  EXPECT_EQ(chunks->opened(2), 0);
  EXPECT_FALSE(cache.reserve(2).empty()) << "it can be reserved again";
  cache.leave(2);
  cache.leave(3);
}

TEST(ChunkCache, ReservedPlacesLeaveSlotsForReaders) {
  ChunkCache cache(std::make_shared<TestChunks>(64 * kChunk, kChunk), 1, 6);
  std::uint64_t reserved = 0;
  while (!cache.reserve(reserved).empty()) ++reserved;
  EXPECT_EQ(reserved, 2U);
  for (std::uint64_t index = 10; index < 30; ++index) EXPECT_EQ(reason_of_fetch(cache, index), "");
  for (std::uint64_t index = 0; index < reserved; ++index) cache.leave(index);
}

TEST(ChunkCache, APlaceOutlivesACancelAndIsWipedThen) {
  ChunkCache cache(std::make_shared<TestChunks>(8 * kChunk, kChunk), 1);
  const MutableBytes put = cache.reserve(1), left = cache.reserve(2);
  fill(put, kChunk);
  fill(left, kChunk);
  cache.cancel();
  EXPECT_TRUE(cache.reserve(3).empty());
  cache.put(1, put);
  cache.leave(2);
  EXPECT_EQ(Bytes(put.begin(), put.end()), Bytes(kChunk));
  EXPECT_EQ(Bytes(left.begin(), left.end()), Bytes(kChunk));
}

TEST(ChunkCache, CancelAnswersEveryoneThoughTheSourceBlocks) {
  auto chunks = std::make_shared<TestChunks>(8 * kChunk, kChunk);
  chunks->block(0);
  ChunkCache cache(chunks, 1);
  std::map<std::string, int> reasons;
  for (const std::uint64_t index : {0U, 1U, 2U, 2U}) {
    ChunkCache::Waiter waiter = [&](Result<ChunkCache::Pin> pin) { ++reasons[pin ? "" : pin.error().reason]; };
    ASSERT_TRUE(cache.fetch(index, waiter));
  }
  chunks->wait_blocked();
  cache.cancel();
  EXPECT_EQ(reasons, (std::map<std::string, int>{{"cancelled", 4}}));
  EXPECT_EQ(reason_of_fetch(cache, 3), "cancelled");
  EXPECT_FALSE(cache.find(0));
  chunks->unblock();
}

TEST(ChunkCache, CancelWipesAlsoWhatWasPinned) {
  auto chunks = std::make_shared<TestChunks>(4 * kChunk, kChunk);
  ChunkCache cache(chunks, 1);
  EXPECT_EQ(reason_of_fetch(cache, 0), "");
  EXPECT_EQ(reason_of_fetch(cache, 1), "");
  const std::uint8_t* idle = cache.find(0)->view().data();
  auto pin = cache.find(1);
  const ByteView held = pin->view();
  cache.cancel();
  EXPECT_TRUE(std::all_of(idle, idle + kChunk, [](std::uint8_t byte) { return byte == 0; }));
  EXPECT_TRUE(test::is_plain(kChunk, held)) << "its reader is still answering";
  pin.reset();
  EXPECT_TRUE(std::ranges::all_of(held, [](std::uint8_t byte) { return byte == 0; }));
}

TEST(ChunkCache, ClaimIsTheFirstOnes) {
  auto chunks = std::make_shared<TestChunks>(2 * kChunk, kChunk);
  ChunkCache cache(chunks, 1);
  EXPECT_EQ(reason_of_fetch(cache, 0), "");
  const auto one = cache.find(0), other = cache.find(0);
  EXPECT_TRUE(one->claim());
  EXPECT_FALSE(other->claim());
}

Result<Bytes> read_all(ChunkReader& reader, std::uint64_t offset, std::size_t bytes) {
  std::latch done(1);
  Result<Bytes> out;
  reader.read(offset, bytes, [&](Result<ReadAnswer> answer) {
    if (!answer) {
      out = std::unexpected(answer.error());
    } else {
      for (const ByteView piece : answer->pieces) out->insert(out->end(), piece.begin(), piece.end());
    }
    done.count_down();
  });
  done.wait();
  return out;
}

TEST(ChunkRead, AnyBytesFromManyThreadsThroughFewSlots) {
  for (const std::uint32_t chunk_bytes : {1024U, 65536U, kLargeChunk}) {
    const std::uint64_t bytes = 4 * std::uint64_t{kLargeChunk} + 77;
    ChunkReader reader(std::make_shared<TestChunks>(bytes, chunk_bytes), 2);
    const auto read_some = [&](std::uint64_t seed) {
      for (std::uint64_t i = 0; i < 12; ++i) {
        const std::uint64_t border = (seed * 5 + i) % 4 * kLargeChunk;
        const std::uint64_t offset = border < 3000 ? border : border - 3000 + i;
        const auto some = static_cast<std::size_t>(std::min<std::uint64_t>(100'000, bytes - offset));
        const auto read = read_all(reader, offset, some);
        ASSERT_TRUE(read);
        ASSERT_EQ(read->size(), some);
        EXPECT_TRUE(test::is_plain(offset, *read));
      }
    };
    std::vector<std::jthread> threads;
    for (std::uint64_t t = 0; t < 4; ++t) threads.emplace_back([&, t] { read_some(t); });
  }
}

TEST(ChunkRead, AFailureInAnyPieceIsTheReads) {
  auto chunks = std::make_shared<TestChunks>(8 * kChunk, kChunk);
  chunks->spoil(2);
  ChunkReader reader(chunks, 2);
  EXPECT_EQ(read_all(reader, kChunk, 3 * kChunk).error().reason, "tag_mismatch");
  EXPECT_TRUE(read_all(reader, 3 * kChunk, 3 * kChunk));
  reader.cancel();
  EXPECT_EQ(read_all(reader, 0, 10).error().reason, "cancelled");
}

TEST(ChunkRead, GoingOnOpensWhatComesNext) {
  auto chunks = std::make_shared<TestChunks>(8 * kChunk, kChunk);
  ChunkReader reader(chunks, 2);
  reader.going_on(2 * kChunk);
  chunks->wait_opened(3);
  reader.going_on(7 * kChunk);
}

}  // namespace
}  // namespace tb::deliver
