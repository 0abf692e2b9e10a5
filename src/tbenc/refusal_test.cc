// Properties that hold for every reader: what a writer made is read back, and nothing else is accepted.
// spec: tbenc-v1 2 and 3
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "base/test_scale.h"
#include "tbenc/test_files.h"

namespace tb::tbenc {
namespace {

using namespace test;

constexpr std::uint32_t kChunk = 32;

struct Original {
  FileKey key = key_of(9);
  Header header = header_of(kChunk);
  Bytes plain;
  Bytes file;
  Layout layout;
  explicit Original(std::size_t bytes, std::uint32_t seed = 1)
      : plain(pattern(bytes, seed)),
        file(sealed(key, header, plain)),
        layout(Layout::from_plaintext(bytes, kChunk).value()) {}
  Known known() const {
    return {.plaintext_bytes = plain.size(), .chunk_bytes = kChunk, .nonce_prefix = header.nonce_prefix};
  }
};

bool starts_with(const Bytes& whole, const Bytes& part) {
  return part.size() <= whole.size() && std::equal(part.begin(), part.end(), whole.begin());
}

// With a manifest nothing but the original is accepted, and what came out before the refusal is its beginning.
void expect_refused(const Original& original, const Bytes& file, const std::string& what) {
  ASSERT_NE(file, original.file) << what;
  for (const auto& outcome : by_every_reader(original.key, file, original.known())) {
    EXPECT_NE(outcome.reason, "") << what << " accepted by " << outcome.reader;
    EXPECT_TRUE(starts_with(original.plain, outcome.released)) << what << " by " << outcome.reader;
  }
  // Without one only a cut at a record border can pass, and then the end is not called authenticated.
  for (const auto& outcome : by_every_reader(original.key, file)) {
    EXPECT_TRUE(starts_with(original.plain, outcome.released)) << what << " by " << outcome.reader;
    EXPECT_FALSE(outcome.end_authenticated) << what << " by " << outcome.reader;
    if (outcome.reason.empty()) {
      EXPECT_LT(file.size(), original.file.size()) << what << " by " << outcome.reader;
      EXPECT_EQ(file, Bytes(original.file.begin(), original.file.begin() + std::ptrdiff_t(file.size()))) << what;
    }
  }
}

TEST(Refusal, EverySizeAroundAChunkBorderIsReadBack) {
  const FileKey key = key_of(3);
  for (const std::uint32_t chunk : {1U, 2U, 31U, 32U, 1000U, 1024U}) {
    for (std::size_t chunks = 0; chunks <= 4; ++chunks) {
      for (std::ptrdiff_t off = -2; off <= 2; ++off) {
        const auto bytes = std::ptrdiff_t(chunks * chunk) + off;
        if (bytes < 0) continue;
        const Bytes plain = pattern(std::size_t(bytes));
        const Bytes file = sealed(key, header_of(chunk), plain);
        ASSERT_EQ(file.size(), Layout::from_plaintext(plain.size(), chunk)->ciphertext_bytes());
        for (const auto& outcome : by_every_reader(key, file, {.plaintext_bytes = plain.size()})) {
          ASSERT_EQ(outcome.reason, "") << bytes << " bytes in chunks of " << chunk << " by " << outcome.reader;
          ASSERT_EQ(outcome.released, plain) << outcome.reader;
        }
      }
    }
  }
}

TEST(Refusal, EveryFlippedByte) {
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{64}, std::size_t{75}}) {
    const Original original(bytes);
    for (std::size_t at = 0; at < original.file.size(); ++at) {
      Bytes bad = original.file;
      bad[at] = static_cast<std::uint8_t>(bad[at] ^ (1 << (at % 8)));
      expect_refused(original, bad, "byte " + std::to_string(at) + " of " + std::to_string(bytes));
    }
  }
}

TEST(Refusal, EveryCut) {
  const Original original(2 * kChunk + 11);
  for (std::size_t bytes = 0; bytes < original.file.size(); ++bytes) {
    expect_refused(original, Bytes(original.file.begin(), original.file.begin() + std::ptrdiff_t(bytes)),
                   "cut to " + std::to_string(bytes));
  }
}

TEST(Refusal, EveryAppendedLength) {
  for (const std::size_t plain_bytes : {std::size_t{0}, std::size_t{2 * kChunk}, std::size_t{2 * kChunk + 11}}) {
    const Original original(plain_bytes);
    for (const std::uint8_t byte : {std::uint8_t{0}, std::uint8_t{0xff}}) {
      for (std::size_t more = 1; more <= kChunk + 24; ++more) {
        Bytes bad = original.file;
        bad.insert(bad.end(), more, byte);
        expect_refused(original, bad, std::to_string(more) + " bytes appended");
      }
    }
  }
}

TEST(Refusal, EveryPermutationOfTheRecords) {
  const Original original(3 * kChunk + 7);
  const auto records = records_of(original.file, original.layout);
  std::vector<std::size_t> order(records.size());
  std::iota(order.begin(), order.end(), 0);
  int tried = 0;
  while (std::ranges::next_permutation(order).found) {
    std::vector<Bytes> moved;
    for (const std::size_t i : order) moved.push_back(records[i]);
    expect_refused(original, joined(ByteView(original.file).first(kHeaderBytes), moved), "a permutation");
    ++tried;
  }
  EXPECT_EQ(tried, 23);
}

TEST(Refusal, EveryDroppedAndRepeatedRecord) {
  for (const std::size_t bytes : {std::size_t{4 * kChunk}, std::size_t{3 * kChunk + 7}}) {
    const Original original(bytes);
    const auto records = records_of(original.file, original.layout);
    const auto header = ByteView(original.file).first(kHeaderBytes);
    for (std::size_t i = 0; i < records.size(); ++i) {
      auto dropped = records;
      dropped.erase(dropped.begin() + std::ptrdiff_t(i));
      expect_refused(original, joined(header, dropped), "record " + std::to_string(i) + " dropped");
      for (std::size_t to = 0; to <= records.size(); ++to) {
        auto repeated_record = records;
        repeated_record.insert(repeated_record.begin() + std::ptrdiff_t(to), records[i]);
        expect_refused(original, joined(header, repeated_record), "record " + std::to_string(i) + " repeated");
      }
    }
  }
}

TEST(Refusal, RecordsOfAnotherFileUnderTheSameKey) {
  const Original original(3 * kChunk + 7, 1);
  const auto records = records_of(original.file, original.layout);
  const Bytes other = sealed(original.key, header_of(kChunk, {9, 9, 9, 9}), pattern(3 * kChunk + 7, 2));
  const auto others = records_of(other, original.layout);
  for (std::size_t i = 0; i < records.size(); ++i) {
    auto spliced = records;
    spliced[i] = others[i];
    expect_refused(original, joined(ByteView(original.file).first(kHeaderBytes), spliced),
                   "record " + std::to_string(i) + " of another file");
  }
  for (const auto& outcome : by_every_reader(original.key, other, original.known())) {
    EXPECT_EQ(outcome.reason, "nonce_prefix_mismatch") << outcome.reader;
  }
}

TEST(Refusal, AnotherKey) {
  const Original original(3 * kChunk + 7);
  for (const auto& outcome : by_every_reader(key_of(10), original.file, original.known())) {
    EXPECT_EQ(outcome.reason, "tag_mismatch") << outcome.reader;
    EXPECT_TRUE(outcome.released.empty()) << outcome.reader;
  }
}

TEST(Refusal, AShortRecordInTheMiddle) {
  // Sealed with the right key and position: only the chunking is wrong.
  const Original original(3 * kChunk);
  ChunkCipher cipher(original.key, original.header);
  std::vector<Bytes> records;
  for (const std::size_t bytes : {std::size_t{kChunk}, std::size_t{kChunk - 3}, std::size_t{kChunk}}) {
    Bytes record(bytes + kRecordOverhead);
    cipher.seal(records.size(), pattern(bytes), record);
    records.push_back(record);
  }
  const Bytes bad = joined(ByteView(original.file).first(kHeaderBytes), records);
  for (const auto& outcome : by_every_reader(original.key, bad)) {
    EXPECT_EQ(outcome.reason, "record_malformed") << outcome.reader;
  }
}

TEST(Refusal, BytesBehindTheLastRecordHaveTheirOwnReasons) {
  const Original original(kChunk + 7);
  for (std::size_t more = 1; more <= 4; ++more) {
    Bytes bad = original.file;
    bad.insert(bad.end(), more, 0);
    for (const auto& outcome : by_every_reader(original.key, bad, original.known())) {
      EXPECT_EQ(outcome.reason, "trailing_bytes") << more << " by " << outcome.reader;
    }
    EXPECT_EQ(by_stream(original.key, bad, {}).reason, more < 4 ? "record_truncated" : "record_malformed") << more;
  }
}

TEST(Refusal, ACutAtARecordBorderIsSeenWithAManifestOnly) {
  const Original original(3 * kChunk);
  const Bytes cut(original.file.begin(), original.file.end() - (kChunk + 20));
  for (const auto& outcome : by_every_reader(original.key, cut, original.known())) {
    EXPECT_EQ(outcome.reason, "ciphertext_truncated") << outcome.reader;
  }
  for (const auto& outcome : by_every_reader(original.key, cut)) {
    EXPECT_EQ(outcome.reason, "") << outcome.reader;
    EXPECT_FALSE(outcome.end_authenticated) << outcome.reader;
  }
}

TEST(Refusal, RandomDamage) {
  std::mt19937 random(20261122);
  const Original original(5 * kChunk + 5);
  for (int i = 0; i < tb::test::scaled(300); ++i) {
    Bytes bad = original.file;
    const std::size_t edits = random() % 3 + 1;
    for (std::size_t edit = 0; edit < edits; ++edit) {
      const std::size_t at = random() % bad.size();
      const std::size_t bytes = std::min<std::size_t>(random() % 60 + 1, bad.size() - at);
      switch (random() % 3) {
        case 0:
          bad[at] = static_cast<std::uint8_t>(random());
          break;
        case 1:
          bad.erase(bad.begin() + std::ptrdiff_t(at), bad.begin() + std::ptrdiff_t(at + bytes));
          break;
        default: {
          const Bytes copy(bad.begin() + std::ptrdiff_t(at), bad.begin() + std::ptrdiff_t(at + bytes));
          bad.insert(bad.begin() + std::ptrdiff_t(random() % bad.size()), copy.begin(), copy.end());
        }
      }
      if (bad.empty()) break;
    }
    if (bad != original.file) expect_refused(original, bad, "damage " + std::to_string(i));
  }
}

}  // namespace
}  // namespace tb::tbenc
