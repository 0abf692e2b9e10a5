// A stream in a loop: what it is told of, and when that ends.
#include "sentinel/proxy/stream.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <optional>

#include "sentinel/proxy/poller.h"

namespace tb::sentinel::proxy {
namespace {

class StreamTest : public testing::Test {
 protected:
  struct Counting : Watched {
    void on_ready(std::uint32_t) override { ++times; }
    int times = 0;
  };

  StreamTest() {
    std::array<int, 2> ends{};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends.data()), 0);
    stream.emplace(Fd(ends[0]));
    peer = Fd(ends[1]);
    EXPECT_TRUE(poller.watch(*stream, watched));
  }

  Counting watched;
  Poller poller;
  std::optional<Stream> stream;
  Fd peer;
};

TEST_F(StreamTest, IsToldOfWhatComes) {
  poller.round(0);
  EXPECT_EQ(watched.times, 1);  // it may be written
  ASSERT_EQ(write(peer.get(), "x", 1), 1);
  poller.round(0);
  EXPECT_EQ(watched.times, 2);
}

/// As while the init that opened a connection has not closed its own descriptor of it yet, or while a child is between
/// fork and exec.
TEST_F(StreamTest, IsToldOfNothingOnceClosedWhoeverElseHasTheSocket) {
  for (const bool by_its_end : {false, true}) {
    const Fd other(fcntl(stream->fd(), F_DUPFD_CLOEXEC, 0));
    ASSERT_TRUE(other);
    poller.round(0);
    watched.times = 0;
    by_its_end ? stream.reset() : stream->close();
    ASSERT_EQ(write(peer.get(), "x", 1), 1);
    poller.round(0);
    EXPECT_EQ(watched.times, 0);
    stream.emplace(Fd(fcntl(other.get(), F_DUPFD_CLOEXEC, 0)));
    ASSERT_TRUE(poller.watch(*stream, watched));
  }
}

TEST(TuneForLoopback, ChoosesThePlainestCongestionControl) {
  const Fd tcp(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  ASSERT_TRUE(tcp);
  tune_for_loopback(tcp.get());
  std::array<char, 16> name{};
  socklen_t bytes = name.size();
  ASSERT_EQ(getsockopt(tcp.get(), IPPROTO_TCP, TCP_CONGESTION, name.data(), &bytes), 0);
  EXPECT_STREQ(name.data(), "reno");
}

}  // namespace
}  // namespace tb::sentinel::proxy
