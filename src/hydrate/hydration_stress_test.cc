// An end in any moment: workers that verify, readers that want one chunk now, a blob that breaks off or hangs, and in
// between a stop. What each does alone stands in on_demand_test.cc and hydration_test.cc; here it is their meeting that
// is tried, above all under the sanitizers. spec: wire 2.2 (TB_HYDRATE)
#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "base/crypto.h"
#include "base/test_scale.h"
#include "blob/sealed_sample.h"
#include "hydrate/hydration.h"

namespace tb::hydrate {
namespace {

constexpr std::uint32_t kChunk = 4096;
constexpr std::uint64_t kChunks = 50;

/// Ciphertext in memory. Has no lock, which would order the threads that fetch and so hide their races.
class UnsteadyBlob final : public blob::BlobSource {
 public:
  explicit UnsteadyBlob(const Bytes& bytes) : bytes_(bytes) {}
  blob::BlobStat stat() override { return {bytes_.size(), ""}; }
  void fetch(std::uint64_t offset, std::uint64_t bytes, const blob::ByteSink& sink, std::stop_token stop) override {
    const unsigned call = calls_.fetch_add(1, std::memory_order_relaxed);
    for (unsigned piece = 0; bytes != 0; ++piece) {
      while (hangs_.load(std::memory_order_relaxed) && !stop.stop_requested()) std::this_thread::yield();
      if (stop.stop_requested()) throw blob::FetchError(Error("cancelled", "the download was stopped"));
      if (call % 5 == 4 && piece == call % 3) throw blob::FetchError(Error("blob_cut_short", "it broke off"));
      const auto some = std::min<std::uint64_t>(bytes, 1500);
      sink(ByteView(bytes_).subspan(offset, some));
      offset += some;
      bytes -= some;
    }
  }
  std::string printable() const override { return "memory"; }
  /// From now on every fetch waits for its stop token.
  void hang() { hangs_.store(true, std::memory_order_relaxed); }

 private:
  const Bytes& bytes_;
  std::atomic<unsigned> calls_ = 0;
  std::atomic<bool> hangs_ = false;
};

/// What a mount is to a verify(): it looks at each chunk that is offered.
class Offers final : public asset::ChunkSink {
 public:
  Offers(const Bytes& plain, const tbenc::Layout& layout) : plain_(plain), layout_(layout) {}
  Result<> begin(const asset::Manifest&, const tbenc::Layout&) override { return {}; }
  Result<> chunk(std::uint64_t index, ByteView bytes) override {
    EXPECT_TRUE(std::ranges::equal(bytes, ByteView(plain_).subspan(layout_.plain_offset(index), bytes.size())));
    return {};
  }
  Result<> finish() override { return {}; }
  void abort(const Error&) override {}

 private:
  const Bytes& plain_;
  tbenc::Layout layout_;
};

std::string reason_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.reason;
  }
  return "";
}

TEST(HydrationStress, StopAmongWorkersAndReadersOfABlobThatBreaksOffOrHangs) {
  const auto sample = blob::SealedSample::make(blob::sample_pattern((kChunks - 1) * kChunk + 17), kChunk);
  const std::string directory = testing::TempDir() + "/tb-stress-" + random_token(9);
  constexpr std::array kKinds{CacheKind::kMemory, CacheKind::kDisk, CacheKind::kNone};
  for (int round = 0; round < test::scaled(60); ++round) {
    const auto number = static_cast<unsigned>(round);
    UnsteadyBlob source(sample.ciphertext);
    Options options;
    options.connections = 1 + number % 4;
    options.request_bytes = 1 + number % 3 * 3 * kChunk;
    options.cache = kKinds[number % kKinds.size()];
    options.cache_directory = directory;
    options.backoff = {.first_ms = 1, .max_ms = 1, .attempts = 1000};
    Hydration hydration(options, {sample.manifest, {.mac = true}}, sample.key.clone(), source);
    hydration.prepare(true, {});
    Offers offers(sample.plain, hydration.layout());
    std::stop_source stop;
    std::atomic<std::uint64_t> chunks_read = 0;
    std::string verified;
    const auto read = [&](std::uint64_t step) {
      for (std::uint64_t n = 0; n < kChunks; ++n) {
        const std::uint64_t chunk = n * step % kChunks;
        Bytes plain(hydration.layout().chunk_plain_bytes(chunk), 0xee);
        const auto opened = hydration.open_chunk(chunk, plain, stop.get_token());
        ++chunks_read;
        if (!opened) {
          EXPECT_EQ(opened.error().reason, "cancelled");
          EXPECT_EQ(plain, Bytes(plain.size()));
          continue;
        }
        EXPECT_TRUE(std::ranges::equal(
            plain, ByteView(sample.plain).subspan(hydration.layout().plain_offset(chunk), plain.size())));
      }
    };
    {
      const std::jthread worker([&] {
        verified = reason_of([&] { hydration.verify(round % 2 == 0 ? &offers : nullptr, stop.get_token()); });
      });
      const std::jthread a([&] { read(3); }), b([&] { read(7); }), c([&] { read(1); });
      // In every tenth round nobody stops it.
      if (round % 10 != 9) {
        while (chunks_read < number * 13 % 150) std::this_thread::yield();
        if (round % 4 == 3) source.hang();
        stop.request_stop();
      }
    }
    EXPECT_TRUE(verified.empty() || verified == "cancelled") << verified;
    if (round % 10 == 9) {
      EXPECT_EQ(verified, "");
      EXPECT_EQ(hydration.progress().bytes, hydration.progress().total);
    }
    if (round % 5 == 4) std::filesystem::remove_all(directory);
  }
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace tb::hydrate
