// Known answers are files of the format's first implementation. spec: tbenc-v1 1 to 3
#include "tbenc/stream.h"

#include <gtest/gtest.h>

#include "tbenc/test_files.h"

namespace tb::tbenc {
namespace {

using namespace test;

constexpr std::string_view kKey = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

struct Answer {
  std::string_view name;
  std::string_view key;
  std::uint32_t chunk_bytes;
  Bytes plain;
  std::string_view sha256;
};

std::vector<Answer> answers() {
  Bytes counting(2048);
  for (std::size_t i = 0; i < counting.size(); ++i) counting[i] = static_cast<std::uint8_t>(i);
  return {
      {"empty", kKey, 1024, {}, "0d80174e7f59eec5a633bdfd67152328dcf4cfa5908fd73117534cd17feceae5"},
      {"one byte", kKey, 1024, repeated("A", 1), "0a02dd965adf1990f66283d1f8f261f1c35888d1f7164792f0945098c33df01c"},
      {"27 bytes", kKey, 1024, repeated("TrustBridge-Test-Vector-123", 27),
       "56b410cd8a15fd3a19d5689f72ee90f383624629e8216b339e4e60bc0049c03b"},
      {"2 whole chunks", kKey, 1024, counting, "7aeba5977899adcfd4cbf70cd3f13feb35c21dfe94dad6ab3de84815d589d8dd"},
      {"short last", "4242424242424242424242424242424242424242424242424242424242424242", 1024, repeated("X", 3572),
       "00b50c403fb0566248fbe54c26738f898bd236a5283f40c3ad4ea39f2fee9f94"},
      {"one byte over", "4242424242424242424242424242424242424242424242424242424242424242", 1024, repeated("Y", 1025),
       "45b24c0119503f52eda7ee220b28461132b6b0c7f30f1826f180767ed3c976f9"},
      {"CHUNK", "abababababababababababababababababababababababababababababababab", 1024, repeated("CHUNK", 2500),
       "5daadf6c6934240282cfe7f23f077be638ade9fbcd7dc1c0f1ab5d8170bf15e8"},
  };
}

TEST(Stream, WritesTheKnownFilesInPiecesOfAnySize) {
  for (const auto& answer : answers()) {
    for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{1024}, std::size_t{5000}}) {
      Bytes out;
      MemorySink sink(out);
      const FileKey key = key_from_hex(answer.key);
      auto writer = StreamWriter::create(key, header_of(answer.chunk_bytes), sink).value();
      for (std::size_t at = 0; at < answer.plain.size(); at += piece) {
        const ByteView rest = ByteView(answer.plain).subspan(at);
        ASSERT_TRUE(writer.write(rest.first(std::min(piece, rest.size()))));
      }
      ASSERT_TRUE(writer.finish());
      EXPECT_EQ(to_hex(sha256(ByteView(out))), answer.sha256) << answer.name << " in pieces of " << piece;
      EXPECT_EQ(to_hex(writer.sha256_ciphertext()), answer.sha256);
      EXPECT_EQ(writer.plaintext_bytes(), answer.plain.size());
      EXPECT_EQ(writer.ciphertext_bytes(), out.size());
    }
  }
}

TEST(Stream, EveryReaderReadsTheKnownFiles) {
  for (const auto& answer : answers()) {
    const FileKey key = key_from_hex(answer.key);
    const Bytes file = sealed(key, header_of(answer.chunk_bytes), answer.plain);
    for (const bool known : {false, true}) {
      Known from_manifest;
      if (known) from_manifest.plaintext_bytes = answer.plain.size();
      for (const auto& outcome : by_every_reader(key, file, from_manifest)) {
        EXPECT_EQ(outcome.reason, "") << answer.name << " by " << outcome.reader;
        EXPECT_EQ(outcome.released, answer.plain) << answer.name << " by " << outcome.reader;
        EXPECT_EQ(outcome.end_authenticated, known) << answer.name << " by " << outcome.reader;
      }
    }
  }
}

TEST(Stream, TheEndStaysTheEnd) {
  const FileKey key = key_of(7);
  const Bytes file = sealed(key, header_of(1024), pattern(1500));
  MemoryPull source(file);
  auto reader = StreamReader::open(key, source, {.plaintext_bytes = 1500}).value();
  EXPECT_EQ(reader.next()->size(), 1024U);
  EXPECT_FALSE(reader.end_authenticated());
  EXPECT_EQ(reader.next()->size(), 476U);
  EXPECT_TRUE(reader.next()->empty());
  EXPECT_TRUE(reader.next()->empty());
  EXPECT_TRUE(reader.end_authenticated());
  EXPECT_EQ(reader.plaintext_bytes(), 1500U);
}

TEST(Stream, AFailureStaysAFailure) {
  const FileKey key = key_of(7);
  Bytes file = sealed(key, header_of(1024), pattern(5000));
  file[32 + 1044 + 100] ^= 1;
  MemoryPull source(file);
  auto reader = StreamReader::open(key, source).value();
  EXPECT_EQ(reader.next()->size(), 1024U);
  for (int i = 0; i < 3; ++i) {
    const auto chunk = reader.next();
    ASSERT_FALSE(chunk);
    EXPECT_EQ(chunk.error().reason, "tag_mismatch");
  }
  EXPECT_FALSE(reader.end_authenticated());
  EXPECT_EQ(reader.plaintext_bytes(), 1024U);
}

class FailingSource final : public PullSource {
 public:
  explicit FailingSource(ByteView bytes) : bytes_(bytes) {}
  Result<std::size_t> read(MutableBytes out) override {
    if (out.size() > bytes_.size()) return fail("io_error", "the disk is gone");
    std::ranges::copy(bytes_.first(out.size()), out.begin());
    bytes_ = bytes_.subspan(out.size());
    return out.size();
  }
  std::string name() const override { return "failing"; }

 private:
  ByteView bytes_;
};

TEST(Stream, AnErrorOfTheSourceIsNoEnd) {
  const FileKey key = key_of(7);
  const Bytes file = sealed(key, header_of(1024), pattern(5000));
  FailingSource source(ByteView(file).first(32 + 1044 + 10));
  auto reader = StreamReader::open(key, source).value();
  EXPECT_EQ(reader.next()->size(), 1024U);
  EXPECT_EQ(reader.next().error().reason, "io_error");
  EXPECT_EQ(reader.next().error().reason, "io_error");
}

class FullSink final : public Sink {
 public:
  explicit FullSink(std::size_t room) : room_(room) {}
  Result<> write(ByteView bytes) override {
    if (bytes.size() > room_) return fail("disk_full", "no space left");
    room_ -= bytes.size();
    return {};
  }

 private:
  std::size_t room_;
};

TEST(Stream, AnErrorOfTheSinkIsReported) {
  const FileKey key = key_of(7);
  FullSink none(31);
  EXPECT_EQ(StreamWriter::create(key, header_of(1024), none).error().reason, "disk_full");
  FullSink some(32 + 1044);
  auto writer = StreamWriter::create(key, header_of(1024), some).value();
  EXPECT_TRUE(writer.write(pattern(1500)));
  EXPECT_EQ(writer.finish().error().reason, "disk_full");
}

}  // namespace
}  // namespace tb::tbenc
