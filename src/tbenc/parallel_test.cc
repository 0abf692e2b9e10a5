// spec: tbenc-v1 1 to 3
#include "tbenc/parallel.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>

#include "tbenc/test_files.h"

namespace tb::tbenc {
namespace {

using namespace test;

ParallelOptions with_jobs(unsigned jobs) {
  ParallelOptions options;
  options.jobs = jobs;
  return options;
}

class TempFile {
 public:
  explicit TempFile(const Bytes& content) {
    path_ = testing::TempDir() + "/tbenc_parallel.XXXXXX";
    fd_ = Fd(::mkstemp(path_.data()));
    write_full(fd_.get(), content, path_).value();
  }
  ~TempFile() { ::unlink(path_.c_str()); }
  const std::string& path() const { return path_; }
  int fd() const { return fd_.get(); }

 private:
  std::string path_;
  Fd fd_;
};

TEST(Parallel, WritesWhatTheStreamWriterWrites) {
  const FileKey key = key_of(4);
  for (const std::uint32_t chunk : {1024U, 5000U, 300'000U}) {
    for (const std::size_t bytes :
         {std::size_t{0}, std::size_t{1}, std::size_t{chunk} - 1, std::size_t{chunk}, std::size_t{chunk} + 1,
          std::size_t{chunk} * 7, std::size_t{chunk} * 7 + 13, std::size_t{1} << 20}) {
      const Bytes plain = pattern(bytes);
      const Bytes file = sealed(key, header_of(chunk), plain);
      for (const unsigned jobs : {1U, 2U, 5U}) {
        MemorySource random(plain);
        MemoryPull pull(plain);
        for (const bool in_order : {false, true}) {
          Bytes out;
          MemorySink sink(out);
          const auto result = in_order ? encrypt(key, header_of(chunk), pull, sink, with_jobs(jobs))
                                       : encrypt(key, header_of(chunk), random, sink, with_jobs(jobs));
          ASSERT_TRUE(result);
          ASSERT_EQ(out, file) << bytes << " bytes in chunks of " << chunk << " on " << jobs;
          ASSERT_EQ(result->sha256_ciphertext, sha256(ByteView(file)));
          ASSERT_EQ(result->plaintext_bytes, bytes);
          ASSERT_EQ(result->ciphertext_bytes, file.size());
          DecryptOptions options;
          options.jobs = jobs;
          options.known.plaintext_bytes = bytes;
          options.hash_ciphertext = true;
          Bytes back;
          MemorySink plain_sink(back);
          MemorySource random_file(file);
          MemoryPull pull_file(file);
          const auto opened =
              in_order ? decrypt(key, pull_file, plain_sink, options) : decrypt(key, random_file, plain_sink, options);
          ASSERT_TRUE(opened);
          ASSERT_EQ(back, plain);
          ASSERT_EQ(opened->sha256_ciphertext, sha256(ByteView(file)));
          ASSERT_TRUE(opened->end_authenticated);
        }
      }
    }
  }
}

// The large known answer of the first implementation.
TEST(Parallel, TheKnownAnswerOf16MiB) {
  const FileKey key = key_from_hex("282124c4962c8885cf5ad814a1339bd7ccc254b8e7e810e550a77ac903bc9fd9");
  const Bytes plain = repeated("TRUSTBRIDGE_E2E_", 16U << 20);
  ASSERT_EQ(to_hex(sha256(ByteView(plain))).substr(0, 8), "fba96a98");
  MemorySource source(plain);
  Bytes out;
  MemorySink sink(out);
  const auto result = encrypt(key, header_of(4U << 20, {0xe2, 0xe0, 0, 1}), source, sink);
  ASSERT_TRUE(result);
  EXPECT_EQ(out.size(), 16'777'328U);
  EXPECT_EQ(to_hex(result->sha256_ciphertext), "414bc2496ab5c2d4d2267e1bdf97cd9759e8d4d3c87b917e778dd68340d75b59");
  MemorySource file(out);
  Bytes back;
  MemorySink plain_sink(back);
  ASSERT_TRUE(decrypt(key, file, plain_sink));
  EXPECT_EQ(back, plain);
}

TEST(Parallel, VerifyReadsAllAndGivesNothingOut) {
  const FileKey key = key_of(4);
  Bytes file = sealed(key, header_of(1024), pattern(100'000));
  DecryptOptions options;
  options.known.plaintext_bytes = 100'000;
  const auto result = verify(key, MemorySource(file), options);
  ASSERT_TRUE(result);
  EXPECT_EQ(result->plaintext_bytes, 100'000U);
  EXPECT_TRUE(result->end_authenticated);
  EXPECT_FALSE(result->sha256_ciphertext);
  file.back() ^= 1;
  EXPECT_EQ(verify(key, MemorySource(file), options).error().reason, "tag_mismatch");
}

TEST(Parallel, HashesASourceWithoutAKey) {
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{1'000'000}}) {
    const Bytes content = pattern(bytes);
    EXPECT_EQ(sha256_of(MemorySource(content)).value(), sha256(ByteView(content)));
  }
}

TEST(Parallel, ReportsTheFirstErrorOfTheFileAndWritesNothingFromThere) {
  const FileKey key = key_of(4);
  const Bytes plain = pattern(40 * 300'000);
  Bytes file = sealed(key, header_of(300'000), plain);
  const auto layout = Layout::from_plaintext(plain.size(), 300'000).value();
  for (const std::uint64_t bad : {9U, 10U, 11U, 20U}) file[layout.record_offset(bad) + 77] ^= 1;
  for (const bool in_order : {false, true}) {
    const auto outcome = by_parallel(key, file, {}, in_order);
    EXPECT_EQ(outcome.reason, "tag_mismatch");
    EXPECT_LE(outcome.released.size(), 9U * 300'000);
    EXPECT_TRUE(std::equal(outcome.released.begin(), outcome.released.end(), plain.begin()));
  }
  MemorySource source(file);
  EXPECT_EQ(verify(key, source).error().message.find("record 9 "), 0U);
}

TEST(Parallel, ShowsThePlaintextInOrder) {
  const FileKey key = key_of(4);
  const Bytes plain = pattern(1'500'000);
  for (const bool in_order : {false, true}) {
    Bytes shown;
    DecryptOptions options;
    options.jobs = 3;
    options.on_plaintext = [&](ByteView piece) { shown.insert(shown.end(), piece.begin(), piece.end()); };
    Bytes file;
    MemorySink sink(file);
    MemorySource random(plain);
    MemoryPull pull(plain);
    ASSERT_TRUE(in_order ? encrypt(key, header_of(2000), pull, sink, options)
                         : encrypt(key, header_of(2000), random, sink, options));
    EXPECT_EQ(shown, plain);
    EXPECT_EQ(file, sealed(key, header_of(2000), plain));
    shown.clear();
    Bytes back;
    MemorySink plain_sink(back);
    ASSERT_TRUE(decrypt(key, MemorySource(file), plain_sink, options));
    EXPECT_EQ(shown, plain);
    EXPECT_EQ(back, plain);
  }
}

TEST(Parallel, ProgressGrowsToTheTotal) {
  const FileKey key = key_of(4);
  const Bytes plain = pattern(3'000'000);
  std::uint64_t last = 0;
  int calls = 0;
  DecryptOptions options;
  options.progress = [&](std::uint64_t bytes) {
    EXPECT_GT(bytes, last);
    last = bytes;
    ++calls;
  };
  Bytes file;
  MemorySink sink(file);
  ASSERT_TRUE(encrypt(key, header_of(100'000), MemorySource(plain), sink, options));
  EXPECT_EQ(last, plain.size());
  EXPECT_GE(calls, 10);
  last = 0;
  ASSERT_TRUE(verify(key, MemorySource(file), options));
  EXPECT_EQ(last, plain.size());
}

TEST(Parallel, CancelEndsTheWork) {
  const FileKey key = key_of(4);
  const Bytes plain = pattern(3'000'000);
  std::atomic<bool> cancel = false;
  ParallelOptions options;
  options.cancel = &cancel;
  options.progress = [&](std::uint64_t) { cancel = true; };
  Bytes file;
  MemorySink sink(file);
  EXPECT_EQ(encrypt(key, header_of(10'000), MemorySource(plain), sink, options).error().reason, "cancelled");
  EXPECT_LT(file.size(), plain.size());
}

class FullSink final : public Sink {
 public:
  explicit FullSink(std::size_t room) : room_(room) {}
  Result<> write(ByteView bytes) override {
    if (failed_) ADD_FAILURE() << "written to after a failure";
    failed_ = bytes.size() > room_;
    if (failed_) return fail("disk_full", "no space left");
    room_ -= bytes.size();
    return {};
  }

 private:
  std::size_t room_;
  bool failed_ = false;
};

TEST(Parallel, AFullDiskEndsTheWork) {
  const FileKey key = key_of(4);
  const Bytes plain = pattern(3'000'000);
  const Bytes file = sealed(key, header_of(1024), plain);
  for (const std::size_t room : {std::size_t{0}, std::size_t{40}, std::size_t{1'000'000}, file.size() - 1}) {
    FullSink sink(room);
    EXPECT_EQ(encrypt(key, header_of(1024), MemorySource(plain), sink).error().reason, "disk_full") << room;
  }
  FullSink sink(plain.size() - 1);
  EXPECT_EQ(decrypt(key, MemorySource(file), sink).error().reason, "disk_full");
}

TEST(Parallel, ASourceFileThatChangesMeanwhileIsNamed) {
  const FileKey key = key_of(4);
  for (const off_t new_bytes : {off_t{0}, off_t{2'999'999}, off_t{3'000'001}}) {
    TempFile file(pattern(3'000'000));
    const auto source = FileSource::open(file.path()).value();
    ASSERT_EQ(::ftruncate(file.fd(), new_bytes), 0);
    Bytes out;
    MemorySink sink(out);
    const auto result = encrypt(key, header_of(1024), source, sink);
    ASSERT_FALSE(result) << new_bytes;
    EXPECT_EQ(result.error().reason, "source_changed");
    EXPECT_NE(result.error().message.find(file.path()), std::string::npos);
  }
}

class LyingPull final : public PullSource {
 public:
  LyingPull(ByteView bytes, std::uint64_t says) : inner_(bytes), says_(says) {}
  Result<std::size_t> read(MutableBytes out) override { return inner_.read(out); }
  std::optional<std::uint64_t> size() const override { return says_; }
  std::string name() const override { return "the liar"; }

 private:
  MemoryPull inner_;
  std::uint64_t says_;
};

TEST(Parallel, ASourceThatGivesOtherThanItSaidIsNamed) {
  const Bytes plain = pattern(10'000);
  for (const std::uint64_t says : {std::uint64_t{9'999}, std::uint64_t{10'001}, std::uint64_t{0}}) {
    LyingPull source(plain, says);
    Bytes out;
    MemorySink sink(out);
    const auto result = encrypt(key_of(4), header_of(1024), source, sink);
    ASSERT_FALSE(result) << says;
    EXPECT_EQ(result.error().reason, "source_changed");
    EXPECT_NE(result.error().message.find("the liar"), std::string::npos);
  }
}

TEST(Parallel, FilesAndPipesEndToEnd) {
  const FileKey key = key_of(4);
  const Bytes plain = pattern(2'000'000);
  TempFile plain_file(plain);
  TempFile sealed_file({});
  FdSink sink(sealed_file.fd(), "sealed");
  const auto source = FileSource::open(plain_file.path()).value();
  ASSERT_TRUE(encrypt(key, header_of(100'000), source, sink));
  ASSERT_TRUE(source.check_unchanged());

  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const Fd reading(ends[0]);
  Bytes back(plain.size() + 1);
  std::size_t got = 0;
  std::jthread reader([&] { got = read_full(reading.get(), back, "pipe").value_or(0); });
  {
    const Fd writing(ends[1]);
    FdSink pipe(writing.get(), "pipe");
    ASSERT_TRUE(decrypt(key, FileSource::open(sealed_file.path()).value(), pipe));
  }
  reader.join();
  back.resize(got);
  EXPECT_EQ(back, plain);
}

}  // namespace
}  // namespace tb::tbenc
