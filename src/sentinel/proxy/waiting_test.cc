// Whoever is waited for, and how long: clients that trickle, a runtime that takes no connection, descriptors that are
// gone for a moment.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/un.h>

#include <filesystem>

#include "http/test_peer.h"
#include "sentinel/proxy/peers_test.h"

namespace tb::sentinel::proxy {
namespace {

using test::eventually;
using test::Runtime;
using test::Wire;

constexpr const char* kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
constexpr const char* kGet = "GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n";

class WaitingTest : public test::ProxyCase {};

TEST_F(WaitingTest, AHeadThatTricklesIsCutByItsTimeNotByItsPauses) {
  Runtime runtime(Runtime::answering(kOk));
  begin(runtime.address, {.head_ms = 400, .idle_ms = 60'000, .client_ms = 60'000});
  Wire wire = client();
  wire.say("GET /v1/models HTTP/1.1\r\nX: ");
  const std::int64_t began = boot_ms_now();
  std::atomic<bool> cut = false;
  std::thread trickles([&] {
    while (!cut && wire.say("y")) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  });
  wire.to_end();
  cut = true;
  trickles.join();
  EXPECT_FALSE(wire.timed_out);
  EXPECT_GE(boot_ms_now() - began, 350);
  EXPECT_EQ(counted("trustbridge_sentinel_client_timeouts_total"), 1U);
  EXPECT_EQ(runtime.connections, 0);
}

TEST_F(WaitingTest, ABodyThatTricklesMayGoOn) {
  Runtime runtime(Runtime::answering(kOk));
  begin(runtime.address, {.head_ms = 400, .idle_ms = 400, .client_ms = 2'000});
  Wire wire = client();
  wire.say("POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n");
  for (int i = 0; i < 100; ++i) {
    ASSERT_TRUE(wire.say("y"));
    std::this_thread::sleep_for(std::chrono::milliseconds(8));
  }
  EXPECT_TRUE(wire.message().ends_with("ok"));
}

TEST_F(WaitingTest, IdleConnectionsDoNotKeepOthersFromTheirTime) {
  Runtime runtime(Runtime::answering(kOk));
  begin(runtime.address, {.idle_ms = 300});
  std::vector<Wire> wires;
  for (int i = 0; i < 50; ++i) {
    wires.push_back(client());
    if (i % 2 == 0) wires.back().say(kGet);
  }
  for (Wire& wire : wires) {
    wire.to_end();
    EXPECT_FALSE(wire.timed_out);
  }
  EXPECT_EQ(counted("trustbridge_sentinel_client_timeouts_total"), 50U);
}

/// A listener whose queue is full until take() is called.
class FullQueue {
 public:
  FullQueue(int family, const sockaddr* address, socklen_t bytes) : listener_(socket(family, SOCK_STREAM, 0)) {
    EXPECT_EQ(bind(listener_.get(), address, bytes), 0);
    EXPECT_EQ(listen(listener_.get(), 0), 0);
    length_ = sizeof where_;
    getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&where_), &length_);
    for (int i = 0; i < 4; ++i) {
      waiting_.emplace_back(socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0));
      (void)connect(waiting_.back().get(), reinterpret_cast<const sockaddr*>(&where_), length_);
    }
  }
  std::uint16_t port() const { return ntohs(reinterpret_cast<const sockaddr_in&>(where_).sin_port); }
  /// Answers whoever comes.
  void take() {
    waiting_.clear();
    thread_ = std::thread([this] {
      while (true) {
        const Fd raw(accept(listener_.get(), nullptr, nullptr));
        if (!raw) return;
        Wire wire(Fd(dup(raw.get())));
        const std::string message = wire.message();
        if (message.empty()) continue;
        {
          const std::lock_guard lock(mutex_);
          messages_.push_back(message + wire.heard);
        }
        wire.say(kOk);
      }
    });
  }
  std::vector<std::string> messages() {
    const std::lock_guard lock(mutex_);
    return messages_;
  }
  ~FullQueue() {
    shutdown(listener_.get(), SHUT_RDWR);
    if (thread_.joinable()) thread_.join();
  }

 private:
  Fd listener_;
  sockaddr_storage where_{};
  socklen_t length_ = 0;
  std::vector<Fd> waiting_;
  std::mutex mutex_;
  std::vector<std::string> messages_;  ///< each with whatever stood behind it on its connection
  std::thread thread_;
};

TEST_F(WaitingTest, ARuntimeWhoseUnixQueueIsFullIsAskedAgain) {
  const http::test::TempDir dir;
  sockaddr_un path{};
  path.sun_family = AF_UNIX;
  dir.file("socket").copy(path.sun_path, sizeof path.sun_path - 1);
  FullQueue queue(AF_UNIX, reinterpret_cast<const sockaddr*>(&path), sizeof path);
  begin({.unix_path = dir.file("socket")}, {.connect_ms = test::kPatienceMs});
  Wire wire = client();
  wire.say(post("a"));
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  queue.take();
  EXPECT_TRUE(wire.message().ends_with("\r\n\r\nok"));
  proxy_->stop(0);
}

TEST_F(WaitingTest, RequestsThatWaitForAConnectionAreNotMixed) {
  const http::test::TempDir dir;
  sockaddr_un path{};
  path.sun_family = AF_UNIX;
  dir.file("socket").copy(path.sun_path, sizeof path.sun_path - 1);
  FullQueue queue(AF_UNIX, reinterpret_cast<const sockaddr*>(&path), sizeof path);
  begin({.unix_path = dir.file("socket")}, {.connect_ms = test::kPatienceMs});
  std::vector<Wire> wires;
  for (int i = 0; i < 12; ++i) {
    wires.push_back(client());
    wires.back().say(i % 2 == 0 ? "GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n" : post(std::to_string(100 + i)));
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  queue.take();
  for (Wire& wire : wires) EXPECT_TRUE(wire.message().ends_with("\r\n\r\nok"));
  const auto messages = queue.messages();
  EXPECT_EQ(messages.size(), wires.size());
  for (const std::string& message : messages) {
    EXPECT_EQ(message.find(" HTTP/1.1\r\n"), message.rfind(" HTTP/1.1\r\n")) << message;
  }
  proxy_->stop(0);
}

TEST_F(WaitingTest, ARuntimeThatTakesNoConnectionIsToldInTime) {
  const http::test::TempDir dir;
  sockaddr_un path{};
  path.sun_family = AF_UNIX;
  dir.file("socket").copy(path.sun_path, sizeof path.sun_path - 1);
  FullQueue unix_queue(AF_UNIX, reinterpret_cast<const sockaddr*>(&path), sizeof path);
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  FullQueue tcp_queue(AF_INET, reinterpret_cast<const sockaddr*>(&any), sizeof any);
  for (const RuntimeAddress& address :
       {RuntimeAddress{.unix_path = dir.file("socket")}, RuntimeAddress{.port = tcp_queue.port()}}) {
    begin(address, {.connect_ms = 200});
    Wire wire = client();
    wire.say(post("a"));
    EXPECT_TRUE(wire.to_end().starts_with("HTTP/1.1 502 ")) << wire.heard;
    EXPECT_NE(wire.heard.find("upstream_unreachable"), std::string::npos);
    // Who leaves meanwhile is not waited for.
    Wire leaves = client();
    leaves.say(post("a"));
    leaves.close();
    ASSERT_TRUE(has_ended(2));
    proxy_->stop(0);
    const std::scoped_lock lock(second_.mutex);
    second_.ended = 0;
  }
}

TEST_F(WaitingTest, WithoutDescriptorsClientsWaitUntilSomeComeBack) {
  Runtime runtime(Runtime::answering(kOk));
  begin(runtime.address);
  Wire wire = client();
  wire.say(kGet);
  EXPECT_TRUE(wire.message().ends_with("ok"));  // whatever needs descriptors of its own has them now
  Fd late(socket(AF_INET, SOCK_STREAM, 0));
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  std::vector<Fd> all;
  {
    rlimit few = before;
    few.rlim_cur = 256;
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &few), 0);
    while (true) {
      Fd one(fcntl(late.get(), F_DUPFD_CLOEXEC, 0));
      if (!one) break;
      all.push_back(std::move(one));
    }
  }
  sockaddr_in target = http::test::loopback(proxy_->port());
  ASSERT_EQ(connect(late.get(), reinterpret_cast<const sockaddr*>(&target), sizeof target), 0);
  std::this_thread::sleep_for(std::chrono::milliseconds(150));
  wire.say(kGet);
  EXPECT_TRUE(wire.message().ends_with("ok")) << "those who are there are served";
  all.clear();
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  Wire waits(std::move(late));
  waits.say(kGet);
  EXPECT_TRUE(waits.message().ends_with("ok"));
}

}  // namespace
}  // namespace tb::sentinel::proxy
