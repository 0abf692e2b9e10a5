// An end in any moment: readers, offers, a source that fails or hangs, and in between cancel() or revoke(). What each
// of these does alone stands in the test beside it; here it is their meeting that is tried, above all under the
// sanitizers. spec: wire 2.3
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "base/crypto.h"
#include "base/test_scale.h"
#include "deliver/chunk_read.h"
#include "deliver/fifo.h"
#include "deliver/mount.h"
#include "deliver/test_chunks.h"

namespace tb::deliver {
namespace {

using tb::test::scaled;
using test::UnsteadyChunks;

constexpr std::uint32_t kChunk = 4096;
constexpr std::uint64_t kChunks = 40;

/// Numbers that look random and are the same in each run, of one thread.
class Numbers {
 public:
  explicit Numbers(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15 + 1) {}
  std::uint64_t below(std::uint64_t bound) {
    state_ ^= state_ << 13, state_ ^= state_ >> 7, state_ ^= state_ << 17;
    return state_ % bound;
  }

 private:
  std::uint64_t state_;
};

void wait_for(const std::atomic<int>& count, int least) {
  for (int seen = count; seen < least; seen = count) count.wait(seen);
}

TEST(RevokeStress, CancelAmongReadsAndOffersAnswersEachReadOnce) {
  constexpr int kReads = 100;
  for (int round = 0; round < scaled(100); ++round) {
    const auto number = static_cast<unsigned>(round);
    const auto source = std::make_shared<UnsteadyChunks>(kChunks * kChunk - 5, kChunk, round % 2 == 0 ? 7 : 0);
    std::atomic<int> asked = 0, answered = 0;
    {
      ChunkReader reader(source, 1 + number % 3, ChunkCache::kFewestSlots + number % 3);
      const auto read = [&](std::uint64_t seed) {
        Numbers numbers(seed);
        for (int n = 0; n < kReads; ++n) {
          const std::uint64_t offset = numbers.below(reader.size());
          // Most within a chunk or over a border, some of so many chunks that they are copied together.
          const std::uint64_t most = numbers.below(8) == 0 ? 20 * kChunk : 2 * kChunk;
          const auto bytes = static_cast<std::size_t>(1 + numbers.below(std::min(most, reader.size() - offset)));
          ++asked;
          reader.going_on(offset);
          reader.read(offset, bytes, [&, offset, bytes](Result<ReadAnswer> answer) {
            std::size_t got = 0;
            if (answer) {
              for (const ByteView piece : answer->pieces) {
                EXPECT_TRUE(source->is_plain(offset + got, piece));
                got += piece.size();
              }
              EXPECT_EQ(got, bytes);
            } else {
              EXPECT_TRUE(answer.error().reason == "tag_mismatch" || answer.error().reason == "cancelled");
            }
            ++answered;
            answered.notify_all();
          });
        }
      };
      const auto offer = [&](std::uint64_t seed) {
        Numbers numbers(seed);
        for (int n = 0; n < kReads; ++n) {
          const std::uint64_t chunk = numbers.below(kChunks);
          reader.cache().put(chunk, Bytes(reader.cache().layout().chunk_plain_bytes(chunk), source->byte_of(chunk)));
          if (const auto pin = reader.cache().find(chunk)) {
            EXPECT_TRUE(source->is_plain(pin->offset(), pin->view()));
            (void)pin->claim();
          }
        }
      };
      const std::uint64_t seed = number * 8;
      const std::jthread a([&] { read(seed + 1); }), b([&] { read(seed + 2); }), c([&] { offer(seed + 3); });
      wait_for(answered, round * 7 % (2 * kReads));
      if (round % 4 == 3) source->hang();
      reader.cancel();
    }
    EXPECT_EQ(asked, 2 * kReads);
    EXPECT_EQ(answered, asked);
  }
}

TEST(RevokeStress, AnOfferThatTookTheLastSlotMakesRoomForWhoWaits) {
  for (int round = 0; round < scaled(200); ++round) {
    const auto source = std::make_shared<UnsteadyChunks>(kChunks * kChunk, kChunk, 0);
    ChunkCache cache(source, 1, ChunkCache::kFewestSlots);
    std::vector<ChunkCache::Pin> pins;
    for (const std::uint64_t chunk : {0U, 1U}) {
      cache.put(chunk, Bytes(kChunk, source->byte_of(chunk)));
      pins.push_back(std::move(*cache.find(chunk)));
    }
    std::atomic<int> answered = 0;
    ChunkCache::Waiter waiter = [&](Result<ChunkCache::Pin> pin) {
      EXPECT_TRUE(pin);
      ++answered;
      answered.notify_all();
    };
    std::jthread offer([&] { cache.put(2, Bytes(kChunk, source->byte_of(2))); });
    ASSERT_TRUE(cache.fetch(3, waiter));
    wait_for(answered, 1);
  }
}

class RevokeStressOf : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = "/dev/shm/tb-revoke-" + random_token(9);
    std::filesystem::create_directory(dir_);
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  static void begin(Delivery& delivery, const tbenc::Layout& layout) {
    value_or_throw(delivery.begin(test::manifest_of(layout), layout));
  }
  std::string dir_;
};

class RevokeStressOfMount : public RevokeStressOf {
 protected:
  void SetUp() override {
    const auto works = mount_works();
    if (!works) GTEST_SKIP() << "NOT PROVEN, no FUSE here: " << works.error().story();
    RevokeStressOf::SetUp();
    mount_ = make_mount({dir_ + "/model", geteuid(), true, false});
  }
  void TearDown() override {
    mount_.reset();
    if (!dir_.empty()) RevokeStressOf::TearDown();
  }
  std::unique_ptr<Mount> mount_;
};

TEST_F(RevokeStressOfMount, AmongReadersAndOffersOfASourceThatFailsOrHangs) {
  constexpr std::size_t kMostBytes = 64 * 1024;
  for (int round = 0; round < scaled(20); ++round) {
    const auto source = std::make_shared<UnsteadyChunks>(kChunks * 16 * kChunk, 16 * kChunk, round % 2 == 0 ? 9 : 0);
    begin(*mount_, source->layout());
    mount_->serve(source);
    std::atomic<int> reads = 0;
    std::atomic<bool> revoked = false;
    const auto read = [&](std::uint64_t seed, int flags) {
      Numbers numbers(seed);
      const Fd fd(open(mount_->path().c_str(), O_RDONLY | flags));
      const std::unique_ptr<std::uint8_t, decltype(&free)> buffer(
          static_cast<std::uint8_t*>(aligned_alloc(4096, kMostBytes)), free);
      while (!revoked) {
        const std::uint64_t offset = numbers.below(source->layout().plaintext_bytes() / 4096) * 4096;
        const std::size_t bytes = std::size_t{4096} << numbers.below(5);
        const ssize_t got = pread(fd.get(), buffer.get(), bytes, static_cast<off_t>(offset));
        if (got > 0) EXPECT_TRUE(source->is_plain(offset, {buffer.get(), static_cast<std::size_t>(got)}));
        ++reads;
        reads.notify_all();
      }
    };
    const auto offer = [&](std::uint64_t seed) {
      Numbers numbers(seed);
      while (!revoked) {
        const std::uint64_t chunk = numbers.below(kChunks);
        EXPECT_TRUE(mount_->chunk(chunk, Bytes(16 * kChunk, source->byte_of(chunk))));
        (void)mount_->usable();
      }
    };
    const auto seed = static_cast<std::uint64_t>(round) * 8;
    const std::jthread a([&] { read(seed + 1, 0); }), b([&] { read(seed + 2, 0); }),
        c([&] { read(seed + 3, O_DIRECT); }), d([&] { offer(seed + 4); });
    wait_for(reads, round * 11 % 100);
    if (round % 4 == 3) source->hang();
    EXPECT_TRUE(mount_->revoke());
    revoked = true;
    if (const auto fault = mount_->last_fault()) EXPECT_EQ(fault->reason, "tag_mismatch");
    EXPECT_FALSE(mount_->usable());
  }
}

TEST_F(RevokeStressOfMount, ServedAndRevokedManyTimes) {
  for (int round = 0; round < 200; ++round) {
    const auto source = std::make_shared<UnsteadyChunks>(2 * kChunk, kChunk, 0);
    begin(*mount_, source->layout());
    mount_->serve(source);
    EXPECT_TRUE(mount_->usable());
    if (round % 2 == 0) {
      const Fd fd(open(mount_->path().c_str(), O_RDONLY));
      std::uint8_t byte = 0;
      EXPECT_EQ(pread(fd.get(), &byte, 1, kChunk), 1);
      EXPECT_EQ(byte, source->byte_of(1));
    }
    if (round % 3 == 0) source->hang();
    EXPECT_TRUE(mount_->revoke());
  }
}

TEST_F(RevokeStressOf, AFifoInTheMiddleOfAReaderIsNoEnd) {
  // Three pieces of the stream, so that threads wait for their turn.
  constexpr std::uint64_t kBytes = (5 << 20) + 7;
  Kernel kernel = probe_kernel();
  kernel.pipe_bytes = 65536;
  for (int round = 0; round < scaled(60); ++round) {
    kernel.vmsplice = kernel.anonymous_huge_pages = round % 2 == 0;
    const auto delivery = make_fifo({dir_ + "/pipe", geteuid(), true, kernel});
    const bool fails = round % 3 == 0;
    const auto source = std::make_shared<UnsteadyChunks>(kBytes, 1 << 20, fails ? 5 : 0);
    begin(*delivery, source->layout());
    delivery->serve(source);
    std::atomic<int> reads = 0;
    std::atomic<bool> revoking = false;
    std::uint64_t got = 0;
    bool ended = false;
    {
      const Fd fd = value_or_throw(open_file(dir_ + "/pipe", O_RDONLY | O_NONBLOCK));
      std::jthread reader([&](const std::stop_token& stop) {
        Bytes buffer(100'000);
        while (!ended && !stop.stop_requested()) {
          const ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
          if (n > 0) {
            // What a broken stream left in the pipe is taken back beside this reader, who then may see what is behind
            // it.
            const bool whole = source->is_plain(got, ByteView(buffer).first(static_cast<std::size_t>(n)));
            EXPECT_TRUE(whole || fails || revoking);
            got += static_cast<std::uint64_t>(n);
          }
          // A FIFO that nobody has opened for writing yet looks like its end.
          ended = n == 0 && got != 0;
          ++reads;
          reads.notify_all();
        }
      });
      wait_for(reads, round * 5 % 120);
      if (round % 4 == 3) source->hang();
      revoking = true;
      EXPECT_TRUE(delivery->revoke());
    }
    if (ended) EXPECT_EQ(got, kBytes) << "a broken stream looked like a whole one";
    if (const auto fault = delivery->last_fault()) EXPECT_EQ(fault->reason, "tag_mismatch");
  }
}

}  // namespace
}  // namespace tb::deliver
