// spec: wire 2.3 (FIFO)
#include "deliver/reader_stream.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <csignal>
#include <future>
#include <mutex>
#include <thread>

#include "blob/sealed_sample.h"
#include "deliver/pipe_pages.h"

namespace tb::deliver {
namespace {

/// Plaintext by a rule, so that every byte can be checked without holding the asset; fails, or waits, where a test
/// says.
struct Pattern final : asset::ChunkSource {
  Pattern(std::uint64_t plaintext_bytes, std::uint32_t chunk_bytes)
      : layout_(value_or_throw(tbenc::Layout::from_plaintext(plaintext_bytes, chunk_bytes))) {}
  const tbenc::Layout& layout() const override { return layout_; }
  /// No two pages alike, nor two places that lie a power of two apart.
  static std::uint8_t byte_at(std::uint64_t offset) {
    return static_cast<std::uint8_t>(((offset >> 12) * 0x9e3779b97f4a7c15 >> 56) + offset);
  }
  Result<> open_chunk(std::uint64_t index, MutableBytes plain, std::stop_token stop) override {
    if (index >= waits_from) {
      std::unique_lock lock(mutex_);
      waiting.fetch_add(1);
      waiting_changed_.wait(lock, stop, [] { return false; });
      return fail("cancelled", "stopped");
    }
    if (index == fails_at) return fail("tag_mismatch", "damaged");
    const std::uint64_t from = layout_.plain_offset(index);
    for (std::size_t i = 0; i < plain.size(); ++i) plain[i] = byte_at(from + i);
    return {};
  }
  std::uint64_t fails_at = ~std::uint64_t{0}, waits_from = ~std::uint64_t{0};
  std::atomic<int> waiting = 0;

 private:
  tbenc::Layout layout_;
  std::mutex mutex_;
  std::condition_variable_any waiting_changed_;
};

struct Ends {
  Fd reading, writing;
};

Ends make_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw error_from_errno(errno, "pipe");
  return {Fd(ends[0]), Fd(ends[1])};
}

/// Where bytes first differ from the pattern, from `offset` on; nothing if they do not.
std::optional<std::uint64_t> first_wrong(ByteView bytes, std::uint64_t offset) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] != Pattern::byte_at(offset + i)) return offset + i;
  }
  return std::nullopt;
}

/// Parameter: pages are given, or copied.
class ReaderStream : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    signal(SIGPIPE, SIG_IGN);
    kernel_.pipe_bytes = std::size_t{1} << 20;
    kernel_.vmsplice = kernel_.anonymous_huge_pages = GetParam();
    stop_ = Fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  }
  void request_stop() {
    stop_source_.request_stop();
    const std::uint64_t one = 1;
    ASSERT_EQ(::write(stop_.get(), &one, sizeof one), 8);
  }
  /// The outcome, while the end of the pipe closes with it.
  std::future<Result<Written>> start(asset::ChunkSource& source, Fd writing) {
    return std::async(std::launch::async, [this, &source, fd = std::make_shared<Fd>(std::move(writing))] {
      PipeEnd end(std::move(*fd), kernel_.pipe_bytes);
      return stream_to_reader(source, end, stop_.get(), stop_source_.get_token(), kernel_);
    });
  }
  Kernel kernel_;
  Fd stop_;
  std::stop_source stop_source_;
};
INSTANTIATE_TEST_SUITE_P(Pages, ReaderStream, testing::Values(true, false),
                         [](const auto& with) { return with.param ? "given" : "copied"; });

TEST_P(ReaderStream, EverySizeComesWholeAndInOrder) {
  for (const std::uint32_t chunk_bytes : {1000U, 65536U, (1U << 20) + 3, 4U << 20}) {
    for (const std::uint64_t bytes :
         {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{5000}, std::uint64_t{3 << 20}, std::uint64_t{11'000'001}}) {
      Pattern source(bytes, chunk_bytes);
      auto pipe = make_pipe();
      auto outcome = start(source, std::move(pipe.writing));
      Bytes got(bytes + 1);
      got.resize(value_or_throw(read_full(pipe.reading.get(), got, "pipe")));
      auto written = outcome.get();
      ASSERT_TRUE(written) << written.error().story();
      EXPECT_EQ(*written, Written::kAll);
      ASSERT_EQ(got.size(), bytes) << chunk_bytes;
      EXPECT_FALSE(first_wrong(got, 0)) << chunk_bytes;
    }
  }
}

TEST_P(ReaderStream, ReaderThatSplicesAndReadsLateGetsWhatWasSent) {
  // Everything has left the first pipe, and the stream's memory is gone, before the reader looks at a byte: were pages
  // used again or wiped, it would see it.
  constexpr std::uint64_t kBytes = 24 << 20;
  Pattern source(kBytes, 4 << 20);
  auto pipe = make_pipe();
  auto outcome = start(source, std::move(pipe.writing));
  std::vector<Ends> later;
  std::uint64_t moved = 0;
  while (moved < kBytes) {
    later.push_back(make_pipe());
    (void)fcntl(later.back().writing.get(), F_SETPIPE_SZ, 1 << 20);
    for (;;) {
      const ssize_t n = splice(pipe.reading.get(), nullptr, later.back().writing.get(), nullptr, 1 << 20,
                               SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
      if (n > 0) moved += static_cast<std::uint64_t>(n);
      if (n == 0) break;
      if (n < 0) {
        ASSERT_EQ(errno, EAGAIN);
        int held = 0;
        ASSERT_EQ(ioctl(later.back().reading.get(), FIONREAD, &held), 0);
        if (held > 0) break;
        std::this_thread::yield();
      }
    }
  }
  auto written = outcome.get();
  ASSERT_TRUE(written);
  EXPECT_EQ(*written, Written::kAll);
  std::uint64_t at = 0;
  for (Ends& ends : later) {
    ends.writing.reset();
    Bytes got(2 << 20);
    got.resize(value_or_throw(read_full(ends.reading.get(), got, "second pipe")));
    ASSERT_EQ(first_wrong(got, at), std::nullopt);
    at += got.size();
  }
  EXPECT_EQ(at, kBytes);
}

TEST_P(ReaderStream, FailureStandsAtItsPlaceInTheStream) {
  Pattern source(8 << 20, 65536);
  source.fails_at = 50;
  auto pipe = make_pipe();
  auto outcome = start(source, std::move(pipe.writing));
  Bytes got(8 << 20);
  got.resize(value_or_throw(read_full(pipe.reading.get(), got, "pipe")));
  auto written = outcome.get();
  ASSERT_FALSE(written);
  EXPECT_EQ(written.error().reason, "tag_mismatch");
  EXPECT_EQ(got.size(), 50U * 65536) << "all before it, nothing after it";
  EXPECT_FALSE(first_wrong(got, 0));
}

TEST_P(ReaderStream, ReaderThatLeavesEndsIt) {
  Pattern source(64 << 20, 1 << 20);
  auto pipe = make_pipe();
  auto outcome = start(source, std::move(pipe.writing));
  Bytes some(100'000);
  ASSERT_EQ(value_or_throw(read_full(pipe.reading.get(), some, "pipe")), some.size());
  pipe.reading.reset();
  auto written = outcome.get();
  ASSERT_TRUE(written);
  EXPECT_EQ(*written, Written::kReaderGone);
}

TEST_P(ReaderStream, StopIsHeardByAPipeThatIsFull) {
  Pattern source(64 << 20, 1 << 20);
  auto pipe = make_pipe();
  auto outcome = start(source, std::move(pipe.writing));
  Bytes some(100'000);
  ASSERT_EQ(value_or_throw(read_full(pipe.reading.get(), some, "pipe")), some.size());
  request_stop();
  auto written = outcome.get();
  ASSERT_TRUE(written);
  EXPECT_EQ(*written, Written::kStopped);
}

TEST_P(ReaderStream, WhatIsInThePipeIsNotTouchedByTheEndOfAStoppedStream) {
  Pattern source(16 << 20, 4 << 20);
  auto pipe = make_pipe();
  const Fd held(dup(pipe.writing.get()));
  auto outcome = start(source, std::move(pipe.writing));
  Bytes got(std::size_t{1} << 20);
  for (int in_pipe = 0; in_pipe < (1 << 20);) {
    ASSERT_EQ(ioctl(pipe.reading.get(), FIONREAD, &in_pipe), 0);
    std::this_thread::yield();
  }
  request_stop();
  auto written = outcome.get();
  ASSERT_TRUE(written);
  EXPECT_EQ(*written, Written::kStopped);
  ASSERT_EQ(value_or_throw(read_full(pipe.reading.get(), got, "pipe")), got.size());
  EXPECT_FALSE(first_wrong(got, 0)) << "a page that was given is not wiped";
}

TEST_P(ReaderStream, StopIsHeardByASourceThatWaits) {
  Pattern source(64 << 20, 4 << 20);
  source.waits_from = 1;
  auto pipe = make_pipe();
  auto outcome = start(source, std::move(pipe.writing));
  Bytes first(4 << 20);
  ASSERT_EQ(value_or_throw(read_full(pipe.reading.get(), first, "pipe")), first.size());
  while (source.waiting.load() == 0) std::this_thread::yield();
  request_stop();
  auto written = outcome.get();
  if (written) {
    EXPECT_EQ(*written, Written::kStopped);
  } else {
    EXPECT_EQ(written.error().reason, "cancelled");
  }
}

TEST(StreamPlan, IsBoundedByMemoryAndByWork) {
  const auto layout = [](std::uint64_t bytes, std::uint32_t chunk_bytes) {
    return value_or_throw(tbenc::Layout::from_plaintext(bytes, chunk_bytes));
  };
  const auto plan = [&](std::uint64_t bytes, std::uint32_t chunk_bytes, unsigned cores) {
    const StreamPlan made = plan_stream(layout(bytes, chunk_bytes), cores);
    return std::pair<unsigned, std::size_t>(made.threads, made.pieces);
  };
  using Plan = std::pair<unsigned, std::size_t>;
  EXPECT_EQ(plan(std::uint64_t{1} << 40, 4 << 20, 1), Plan(1, 3));
  EXPECT_EQ(plan(std::uint64_t{1} << 40, 4 << 20, 2), Plan(2, 4));
  EXPECT_EQ(plan(std::uint64_t{1} << 40, 4 << 20, 64), Plan(5, 7)) << "7 pieces and 5 records are 48 MiB";
  EXPECT_EQ(plan(std::uint64_t{1} << 40, 16 << 20, 64), Plan(1, 2));
  EXPECT_EQ(plan(std::uint64_t{1} << 40, 64 << 20, 64), Plan(1, 1));
  EXPECT_EQ(plan(8 << 20, 4 << 20, 64), Plan(2, 2)) << "no more than there is";
  EXPECT_EQ(plan(5000, 1000, 64), Plan(1, 1));
  EXPECT_EQ(plan(0, 1000, 0), Plan(1, 1));
}

TEST(PipePages, WhatWasGivenStaysAsItWasAndWhatWasNotIsWiped) {
  PipePages pages((1 << 20) + 100);
  std::ranges::fill(pages.span(), std::uint8_t{7});
  auto pipe = make_pipe();
  const iovec given{pages.span().data(), 5000};
  ASSERT_EQ(vmsplice(pipe.writing.get(), &given, 1, 0), 5000);
  pages.gave(5000);
  pages.let_go();
  EXPECT_TRUE(std::ranges::all_of(pages.span(), [](std::uint8_t b) { return b == 0; }));
  std::ranges::fill(pages.span(), std::uint8_t{9});
  Bytes got(5000);
  ASSERT_EQ(value_or_throw(read_full(pipe.reading.get(), got, "pipe")), 5000U);
  EXPECT_TRUE(std::ranges::all_of(got, [](std::uint8_t b) { return b == 7; }));
}

}  // namespace
}  // namespace tb::deliver
