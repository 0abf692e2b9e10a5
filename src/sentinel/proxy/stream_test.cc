// A stream in a loop: what it is told of, and when that ends.
#include "sentinel/proxy/stream.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <optional>
#include <string>
#include <string_view>

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

/// A connection on this host.
class TcpStreamTest : public testing::Test {
 protected:
  TcpStreamTest() {
    const Fd listener(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{.sin_family = AF_INET, .sin_port = 0, .sin_addr = {htonl(INADDR_LOOPBACK)}, .sin_zero = {}};
    socklen_t bytes = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(bind(listener.get(), generic, bytes), 0);
    EXPECT_EQ(listen(listener.get(), 1), 0);
    EXPECT_EQ(getsockname(listener.get(), generic, &bytes), 0);
    peer = Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(connect(peer.get(), generic, bytes), 0);
    stream.emplace(Fd(accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)));
  }

  void comes(std::string_view text) {
    ASSERT_EQ(write(peer.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
    pollfd until{.fd = stream->fd(), .events = POLLIN, .revents = 0};
    ASSERT_EQ(poll(&until, 1, 5'000), 1);
    stream->note(EPOLLIN);
  }
  std::string read(Stream::Taking taking, std::size_t most_bytes = 64) {
    std::string text(most_bytes, '\0');
    const IoResult result = stream->read(text, taking);
    EXPECT_EQ(result.io, Io::kDone);
    text.resize(result.bytes);
    return text;
  }
  int held_by_the_kernel() const {
    int bytes = -1;
    EXPECT_EQ(ioctl(stream->fd(), FIONREAD, &bytes), 0);
    return bytes;
  }

  std::optional<Stream> stream;
  Fd peer;
};

TEST_F(TcpStreamTest, TakesLaterWhatItHasRead) {
  stream->may_take_later();
  comes("one");
  EXPECT_EQ(read(Stream::Taking::kLater), "one");
  EXPECT_EQ(held_by_the_kernel(), 3);
  comes("two");
  EXPECT_TRUE(stream->take());
  EXPECT_EQ(held_by_the_kernel(), 3);
  EXPECT_EQ(read(Stream::Taking::kLater, 2), "tw");
  EXPECT_EQ(read(Stream::Taking::kLater, 2), "o");  // takes what was read before
  EXPECT_TRUE(stream->take());
  EXPECT_EQ(held_by_the_kernel(), 0);
  std::array<char, 8> room{};
  EXPECT_EQ(stream->read(room, Stream::Taking::kLater).io, Io::kWait);
}

TEST_F(TcpStreamTest, TakesAtOnceWhereItMayNotTakeLater) {
  comes("one");
  EXPECT_EQ(read(Stream::Taking::kLater), "one");
  EXPECT_EQ(held_by_the_kernel(), 0);
}

TEST_F(TcpStreamTest, TakesLaterFromAPeerThatHasReset) {
  stream->may_take_later();
  comes("one");
  EXPECT_EQ(read(Stream::Taking::kLater), "one");
  const linger reset{.l_onoff = 1, .l_linger = 0};
  ASSERT_EQ(setsockopt(peer.get(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
  peer = Fd();
  stream->note(EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR);
  std::array<char, 8> room{};
  EXPECT_EQ(stream->read(room).io, Io::kFailed);
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
