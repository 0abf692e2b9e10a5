// spec: wire 2.3 (FIFO)
#include "deliver/fifo.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <future>
#include <thread>

#include "asset/sealed_chunks.h"
#include "base/crypto.h"
#include "blob/sealed_sample.h"

namespace tb::deliver {
namespace {

namespace fs = std::filesystem;
using blob::SealedSample;

/// Ciphertext in memory that a test can damage while it is served.
struct Ciphertext final : tbenc::RandomSource {
  explicit Ciphertext(Bytes content) : bytes(std::move(content)) {}
  std::uint64_t size() const override { return bytes.size(); }
  Result<> read_at(std::uint64_t offset, MutableBytes out) const override {
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
    return {};
  }
  std::string name() const override { return "sample"; }
  Bytes bytes;
};

class FifoTest : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = "/dev/shm/tb-fifo-" + random_token(9);
    fs::create_directory(dir_);
    chmod(dir_.c_str(), 0711);
  }
  void TearDown() override { fs::remove_all(dir_); }
  std::string pipe() const { return dir_ + "/model-pipe"; }
  std::unique_ptr<Delivery> make() const { return make_fifo({pipe(), geteuid(), true, small_pipes()}); }
  /// So that the middle of a sample is not in the pipe yet when its reader has begun.
  static Kernel small_pipes() {
    Kernel kernel = probe_kernel();
    kernel.pipe_bytes = std::size_t{1} << 20;
    return kernel;
  }

  static std::shared_ptr<Ciphertext> serve(Delivery& delivery, const SealedSample& sample) {
    auto ciphertext = std::make_shared<Ciphertext>(sample.ciphertext);
    value_or_throw(delivery.begin(sample.manifest, sample.manifest.layout()));
    value_or_throw(delivery.finish());
    delivery.serve(chunks_of(sample, ciphertext, sample.key));
    return ciphertext;
  }
  static std::shared_ptr<asset::ChunkSource> chunks_of(const SealedSample& sample,
                                                       std::shared_ptr<const Ciphertext> ciphertext,
                                                       const FileKey& key) {
    return value_or_throw(asset::SealedChunks::open(key, std::move(ciphertext), sample.manifest.known()));
  }
  std::string read_all() const {
    std::ifstream in(pipe(), std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  /// Reads until `bytes` have come; what read(2) gave at last.
  static std::string read_some(int fd, std::size_t bytes) {
    std::string got(bytes, '\0');
    const auto n = value_or_throw(read_full(fd, {reinterpret_cast<std::uint8_t*>(got.data()), got.size()}, "pipe"));
    got.resize(n);
    return got;
  }
  std::string dir_;
};

TEST_F(FifoTest, EveryReaderGetsTheWholePlaintextAndItsEnd) {
  const auto sample = SealedSample::make(blob::sample_pattern(3'000'123), 65536);
  auto delivery = make();
  EXPECT_FALSE(fs::exists(pipe()));
  serve(*delivery, sample);
  EXPECT_TRUE(delivery->usable());
  struct stat st{};
  ASSERT_EQ(stat(pipe().c_str(), &st), 0);
  EXPECT_TRUE(S_ISFIFO(st.st_mode));
  EXPECT_EQ(st.st_mode & 07777, 0600U);
  for (int reader = 0; reader < 5; ++reader) ASSERT_EQ(read_all(), as_text(sample.plain)) << reader;
  ASSERT_TRUE(delivery->revoke());
  EXPECT_FALSE(fs::exists(pipe()));
  EXPECT_FALSE(delivery->usable());
}

TEST_F(FifoTest, KernelThatTakesNoPagesOrGivesSmallPipesIsServedToo) {
  const auto sample = SealedSample::make(blob::sample_pattern(3'000'123), 65536);
  Kernel nothing;
  nothing.pipe_bytes = 4096;
  for (const Kernel& kernel : {nothing, probe_kernel()}) {
    auto delivery = make_fifo({pipe(), geteuid(), true, kernel});
    serve(*delivery, sample);
    for (int reader = 0; reader < 2; ++reader) ASSERT_EQ(read_all(), as_text(sample.plain)) << reader;
  }
}

TEST_F(FifoTest, SwapIsRefused) {
  Kernel kernel = probe_kernel();
  kernel.swap_device = "/dev/sda2";
  try {
    make_fifo({pipe(), geteuid(), false, kernel});
    FAIL() << "what waits in memory could reach a disk";
  } catch (const Error& error) {
    EXPECT_EQ(error.reason, "swap_enabled");
  }
  EXPECT_NO_THROW(make_fifo({pipe(), geteuid(), true, kernel}));
}

TEST_F(FifoTest, SmallModelIsNotServedTwiceIntoOneReader) {
  // All of it fits into the pipe: the writer is done before the reader has read a byte.
  const auto sample = SealedSample::make(blob::sample_pattern(1000), 1024);
  auto delivery = make();
  serve(*delivery, sample);
  for (int round = 0; round < 20; ++round) {
    const Fd reader = value_or_throw(open_file(pipe(), O_RDONLY));
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_EQ(read_some(reader.get(), 4000), as_text(sample.plain));
  }
}

TEST_F(FifoTest, EmptyModelIsAnEndAtOnce) {
  const auto sample = SealedSample::make({}, 1024);
  auto delivery = make();
  serve(*delivery, sample);
  EXPECT_EQ(read_all(), "");
  EXPECT_EQ(read_all(), "");
  EXPECT_TRUE(delivery->usable());
}

TEST_F(FifoTest, ReaderThatLeavesIsNoError) {
  const auto sample = SealedSample::make(blob::sample_pattern(5'000'000), 65536);
  auto delivery = make();
  serve(*delivery, sample);
  {
    const Fd reader = value_or_throw(open_file(pipe(), O_RDONLY));
    EXPECT_EQ(read_some(reader.get(), 100).size(), 100U);
  }
  EXPECT_EQ(read_all(), as_text(sample.plain));
  EXPECT_TRUE(delivery->usable());
  EXPECT_FALSE(delivery->last_fault());
}

/// True if read(2) would give the end of the file now.
bool at_end(int fd) {
  pollfd end{fd, POLLIN, 0};
  char byte;
  return poll(&end, 1, 0) > 0 && (end.revents & POLLIN) == 0 && (end.revents & POLLHUP) != 0 && read(fd, &byte, 1) == 0;
}

TEST_F(FifoTest, FailureInTheMiddleIsNoEnd) {
  auto sample = SealedSample::make(blob::sample_pattern(5'000'000), 65536);
  auto delivery = make();
  const auto ciphertext = serve(*delivery, sample);
  ciphertext->bytes[sample.ciphertext.size() / 2] ^= 1;
  const Fd reader = value_or_throw(open_file(pipe(), O_RDONLY));
  ASSERT_EQ(fcntl(reader.get(), F_SETFL, O_NONBLOCK), 0);
  std::string got;
  while (!delivery->last_fault()) {
    std::string piece(65536, '\0');
    const ssize_t n = read(reader.get(), piece.data(), piece.size());
    if (n > 0) got.append(piece, 0, static_cast<std::size_t>(n));
    ASSERT_NE(n, 0) << "a broken stream looked like a whole one";
    std::this_thread::yield();
  }
  EXPECT_FALSE(delivery->usable());
  EXPECT_LT(got.size(), sample.plain.size() / 2 + 65536);
  // What lay in the pipe when the fault was met is drained on our side, beside this reader: before that nothing is
  // missing.
  const std::size_t before_the_pipe = sample.plain.size() / 2 - (std::size_t{1} << 20) - 65536;
  EXPECT_TRUE(as_text(sample.plain).starts_with(std::string_view(got).substr(0, before_the_pipe)));
  EXPECT_FALSE(at_end(reader.get()));
  ASSERT_TRUE(delivery->revoke());
  EXPECT_FALSE(at_end(reader.get())) << "nor after it was taken away";
}

TEST_F(FifoTest, RevokeInTheMiddleIsNoEnd) {
  const auto sample = SealedSample::make(blob::sample_pattern(5'000'000), 65536);
  auto delivery = make();
  serve(*delivery, sample);
  const Fd reader = value_or_throw(open_file(pipe(), O_RDONLY));
  EXPECT_EQ(read_some(reader.get(), 100).size(), 100U);
  ASSERT_TRUE(delivery->revoke());
  EXPECT_FALSE(at_end(reader.get()));
  pollfd more{reader.get(), POLLIN, 0};
  EXPECT_EQ(poll(&more, 1, 0), 0) << "what was not read yet is taken back";
  EXPECT_FALSE(fs::exists(pipe()));
  delivery.reset();
  EXPECT_FALSE(at_end(reader.get())) << "nor when the delivery itself is gone";
}

TEST_F(FifoTest, RevokeWakesAServerWithoutReaders) {
  const auto sample = SealedSample::make(blob::sample_pattern(1000), 1024);
  for (int round = 0; round < 20; ++round) {
    auto delivery = make();
    serve(*delivery, sample);
    ASSERT_TRUE(delivery->revoke());
    ASSERT_FALSE(fs::exists(pipe()));
  }
}

TEST_F(FifoTest, WrongKeyGivesNoByte) {
  const auto sample = SealedSample::make(blob::sample_pattern(1000), 1024);
  auto delivery = make();
  value_or_throw(delivery->begin(sample.manifest, sample.manifest.layout()));
  delivery->serve(chunks_of(sample, std::make_shared<Ciphertext>(sample.ciphertext), random_key()));
  const Fd reader = value_or_throw(open_file(pipe(), O_RDONLY | O_NONBLOCK));
  while (!delivery->last_fault()) std::this_thread::yield();
  char byte;
  EXPECT_EQ(read(reader.get(), &byte, 1), -1);
  EXPECT_FALSE(at_end(reader.get()));
}

TEST_F(FifoTest, ChunksOfAnotherAssetAreRefused) {
  const auto sample = SealedSample::make(blob::sample_pattern(5000), 1024);
  const auto other = SealedSample::make(blob::sample_pattern(6000), 1024);
  auto delivery = make();
  value_or_throw(delivery->begin(sample.manifest, sample.manifest.layout()));
  EXPECT_THROW(delivery->serve(chunks_of(other, std::make_shared<Ciphertext>(other.ciphertext), other.key)), Error);
  EXPECT_FALSE(delivery->usable());
  EXPECT_FALSE(fs::exists(pipe()));
}

TEST_F(FifoTest, OneOfAnEarlierRunIsReplacedAnythingElseRefused) {
  ASSERT_EQ(mkfifo(pipe().c_str(), 0600), 0);
  EXPECT_NO_THROW(make());
  EXPECT_FALSE(fs::exists(pipe()));
  std::ofstream(pipe()) << "a file";
  EXPECT_THROW(make(), Error);
  fs::remove(pipe());
  fs::create_symlink("/etc/passwd", pipe());
  EXPECT_THROW(make(), Error);
  EXPECT_TRUE(fs::is_symlink(pipe()));
  EXPECT_THROW(make_fifo({"relative", geteuid(), true}), Error);
}

TEST_F(FifoTest, BelongsToTheRuntime) {
  if (geteuid() != 0) GTEST_SKIP() << "needs root";
  const auto sample = SealedSample::make(blob::sample_pattern(1000), 1024);
  auto delivery = make_fifo({pipe(), 12345, true});
  serve(*delivery, sample);
  for (int reader = 0; reader < 2; ++reader) {
    struct stat st{};
    ASSERT_EQ(stat(pipe().c_str(), &st), 0);
    EXPECT_EQ(st.st_uid, 12345U);
    EXPECT_EQ(read_all(), as_text(sample.plain));
  }
}

TEST_F(FifoTest, RevokeEndsAServerWhoseFifoWasClosedToIt) {
  const auto sample = SealedSample::make(blob::sample_pattern(1000), 1024);
  auto delivery = make();
  serve(*delivery, sample);
  ASSERT_EQ(chmod(pipe().c_str(), 0), 0);
  ASSERT_TRUE(delivery->revoke());
  EXPECT_FALSE(fs::exists(pipe()));
}

TEST_F(FifoTest, DirectoryOfOthersIsRefused) {
  chmod(dir_.c_str(), 0777);
  EXPECT_THROW(make(), Error);
  chmod(dir_.c_str(), 01777);
  EXPECT_NO_THROW(make()) << "with the sticky bit nobody can replace it";
}

TEST_F(FifoTest, RightsThatTheRuntimeOpensEndTheService) {
  const auto sample = SealedSample::make(blob::sample_pattern(1000), 1024);
  auto delivery = make();
  serve(*delivery, sample);
  ASSERT_EQ(chmod(pipe().c_str(), 0666), 0);
  const Fd reader = value_or_throw(open_file(pipe(), O_RDONLY | O_NONBLOCK));
  while (!delivery->last_fault()) std::this_thread::yield();
  EXPECT_FALSE(delivery->usable());
}

}  // namespace
}  // namespace tb::deliver
