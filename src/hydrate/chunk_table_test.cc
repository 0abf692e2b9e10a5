#include "hydrate/chunk_table.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

namespace tb::hydrate {
namespace {

using Answer = ChunkTable::Answer;

ChunkTable table_of(std::uint64_t chunks) {
  return ChunkTable(value_or_throw(tbenc::Layout::from_plaintext(chunks * 1024, 1024)), 2 * 1044);
}

TEST(ChunkTable, ARequestIsCountedInPlaintext) {
  const auto layout = value_or_throw(tbenc::Layout::from_plaintext(std::uint64_t{64} << 20, 4U << 20));
  for (const auto& [request_bytes, chunks] :
       {std::pair{8U << 20, 2U}, {(8U << 20) - 1, 1U}, {1024U, 1U}, {64U << 20, 16U}}) {
    EXPECT_EQ(ChunkTable(layout, request_bytes).next_range({})->chunks, chunks) << request_bytes;
  }
}

TEST(ChunkTable, AReaderGetsWhatAWorkerBrings) {
  ChunkTable table = table_of(4);
  ASSERT_EQ(table.next_range({})->first_chunk, 0U);
  Bytes wanted(1024);
  Answer answer{};
  std::jthread reader([&] { answer = table.claim_or_wait(1, wanted, {}); });
  std::this_thread::yield();
  EXPECT_TRUE(table.finished(0, Bytes(1024, 1)));
  EXPECT_TRUE(table.finished(1, Bytes(1024, 7)));
  reader.join();
  // The reader may have come late: then the chunk is its own to take from where it is kept.
  if (answer == Answer::kFilled) EXPECT_EQ(wanted, Bytes(1024, 7));
  if (answer == Answer::kMine) EXPECT_FALSE(table.finished(1, wanted)) << "done before";
  EXPECT_TRUE(answer == Answer::kFilled || answer == Answer::kMine);
}

TEST(ChunkTable, WhoWaitsForAChunkThatFailsAsksAgain) {
  ChunkTable table = table_of(1);
  Bytes mine(1024), theirs(1024);
  ASSERT_EQ(table.claim_or_wait(0, mine, {}), Answer::kMine);
  std::atomic<int> retries = 0;
  std::jthread reader([&] {
    Answer answer;
    while ((answer = table.claim_or_wait(0, theirs, {})) == Answer::kRetry) ++retries;
    EXPECT_EQ(answer, Answer::kMine);
    table.finished(0, theirs);
  });
  table.abandoned(0);
  reader.join();
  EXPECT_TRUE(table.complete());
}

TEST(ChunkTable, StopEndsEveryWaiting) {
  ChunkTable table = table_of(2);
  ASSERT_TRUE(table.next_range({}));
  std::stop_source stop;
  Bytes plain(1024);
  std::jthread reader([&] { EXPECT_EQ(table.claim_or_wait(0, plain, stop.get_token()), Answer::kStopped); });
  std::jthread worker([&] { EXPECT_EQ(table.next_range(stop.get_token()), std::nullopt); });
  std::jthread hasher([&] { EXPECT_FALSE(table.wait_done(1, stop.get_token())); });
  stop.request_stop();
}

TEST(ChunkTable, WorkersWaitForWhatIsInHandsAndTakeWhatComesBack) {
  ChunkTable table = table_of(2);
  ASSERT_TRUE(table.next_range({}));
  std::jthread worker([&] {
    const auto range = table.next_range({});
    ASSERT_TRUE(range);
    EXPECT_EQ(range->first_chunk, 1U);
    table.finished(1, {});
    EXPECT_EQ(table.next_range({}), std::nullopt);
  });
  table.finished(0, {});
  table.abandoned(1);
  worker.join();
  EXPECT_TRUE(table.complete());
}

/// Workers and readers together: every chunk is brought once, every reader sees the right bytes.
TEST(ChunkTable, EachChunkIsBroughtOnceHoweverManyWantIt) {
  constexpr std::uint64_t kChunks = 200;
  ChunkTable table = table_of(kChunks);
  std::atomic<int> brought = 0, failures = 0;
  std::vector<std::atomic<bool>> kept(kChunks);
  const auto bring = [&](std::uint64_t chunk, MutableBytes plain) {
    std::ranges::fill(plain, static_cast<std::uint8_t>(chunk));
    if (chunk % 17 == 3 && failures++ < 5) return table.abandoned(chunk);
    ++brought;
    kept[chunk] = true;
    EXPECT_TRUE(table.finished(chunk, plain));
  };
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 3; ++i) {
      threads.emplace_back([&] {
        Bytes plain(1024);
        while (const auto range = table.next_range({})) {
          for (std::uint64_t n = 0; n < range->chunks; ++n) bring(range->first_chunk + n, plain);
        }
      });
    }
    for (std::uint64_t i = 0; i < 4; ++i) {
      threads.emplace_back([&, i] {
        for (std::uint64_t n = 0; n < kChunks; ++n) {
          const std::uint64_t chunk = (n * (2 * i + 3)) % kChunks;
          Bytes plain(1024);
          while (!kept[chunk]) {
            const Answer answer = table.claim_or_wait(chunk, plain, {});
            if (answer == Answer::kFilled) {
              EXPECT_EQ(plain, Bytes(1024, static_cast<std::uint8_t>(chunk)));
              break;
            }
            if (answer == Answer::kMine && kept[chunk]) {
              table.finished(chunk, {});
            } else if (answer == Answer::kMine) {
              bring(chunk, plain);
            }
          }
        }
      });
    }
  }
  EXPECT_EQ(brought, static_cast<int>(kChunks));
  EXPECT_TRUE(table.complete());
}

}  // namespace
}  // namespace tb::hydrate
