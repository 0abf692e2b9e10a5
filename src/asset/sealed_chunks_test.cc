// spec: tbenc-v1 2, 3
#include "asset/sealed_chunks.h"

#include <gtest/gtest.h>

#include <thread>

#include "base/crypto.h"
#include "tbenc/parallel.h"
#include "tbenc/sink.h"

namespace tb::asset {
namespace {

constexpr std::uint32_t kChunk = 1024;

struct Sealed {
  explicit Sealed(std::size_t bytes) : plain(bytes) {
    for (std::size_t i = 0; i < bytes; ++i) plain[i] = static_cast<std::uint8_t>(i * 7 + i / 251);
    tbenc::MemorySink sink(file);
    value_or_throw(tbenc::encrypt(key, header, tbenc::MemorySource(plain), sink, {.jobs = 1}));
  }
  std::shared_ptr<SealedChunks> open() const {
    return value_or_throw(SealedChunks::open(key, std::make_shared<tbenc::MemorySource>(file),
                                             {.plaintext_bytes = plain.size(), .chunk_bytes = kChunk}));
  }
  FileKey key = random_key();
  tbenc::Header header = value_or_throw(tbenc::new_header(kChunk));
  Bytes plain, file;
};

TEST(SealedChunks, GivesEveryChunkInAnyOrderFromManyThreads) {
  const Sealed sealed(20 * kChunk + 17);
  const auto chunks = sealed.open();
  EXPECT_TRUE(chunks->end_authenticated());
  const auto read_all = [&](std::uint64_t step) {
    for (std::uint64_t i = 0; i < 21; ++i) {
      const std::uint64_t index = i * step % 21;
      Bytes plain(chunks->layout().chunk_plain_bytes(index));
      ASSERT_TRUE(chunks->open_chunk(index, plain, {}));
      EXPECT_TRUE(std::equal(plain.begin(), plain.end(),
                             sealed.plain.begin() + static_cast<std::ptrdiff_t>(chunks->layout().plain_offset(index))));
    }
  };
  std::vector<std::jthread> readers;
  for (const std::uint64_t step : {1U, 2U, 4U, 5U, 8U, 10U}) readers.emplace_back([&, step] { read_all(step); });
}

TEST(SealedChunks, AChunkThatDoesNotVerifyIsWipedAndTheOthersStay) {
  Sealed sealed(4 * kChunk);
  sealed.file[32 + (kChunk + 20) + 100] ^= 1;
  const auto chunks = sealed.open();
  Bytes plain(kChunk, 0xee);
  const auto opened = chunks->open_chunk(1, plain, {});
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().reason, "tag_mismatch");
  EXPECT_EQ(plain, Bytes(kChunk));
  EXPECT_TRUE(chunks->open_chunk(2, plain, {}));
}

TEST(SealedChunks, WhatIsNotThereIsRefused) {
  const Sealed sealed(2 * kChunk);
  const auto chunks = sealed.open();
  Bytes plain(kChunk, 0xee);
  EXPECT_EQ(chunks->open_chunk(2, plain, {}).error().reason, "range_invalid");
  EXPECT_EQ(plain, Bytes(kChunk));
  Bytes shorter(kChunk - 1);
  EXPECT_EQ(chunks->open_chunk(0, shorter, {}).error().reason, "range_invalid");
  std::stop_source stop;
  stop.request_stop();
  EXPECT_EQ(chunks->open_chunk(0, plain, stop.get_token()).error().reason, "cancelled");
}

TEST(SealedChunks, AFileOfAnotherSizeOrHeadIsRefusedAtOnce) {
  Sealed sealed(2 * kChunk);
  sealed.file.pop_back();
  const auto cut = SealedChunks::open(sealed.key, std::make_shared<tbenc::MemorySource>(sealed.file),
                                      {.plaintext_bytes = sealed.plain.size()});
  ASSERT_FALSE(cut);
  EXPECT_EQ(cut.error().reason, "ciphertext_truncated");
  sealed.file[0] = 'X';
  EXPECT_FALSE(SealedChunks::open(sealed.key, std::make_shared<tbenc::MemorySource>(sealed.file), {}));
}

}  // namespace
}  // namespace tb::asset
