// The proxy in this process, with short limits: who waits too long, who stalls, and how it ends. What passes through it
// and what is refused: tests/integration/sentinel.
#include "sentinel/proxy/proxy.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <latch>
#include <thread>

#include "base/clock.h"
#include "base/fs.h"
#include "sentinel/proxy/filters.h"
#include "sentinel/proxy/metrics_filter.h"

namespace tb::sentinel::proxy {
namespace {

/// A runtime that reads what comes and answers `answer` once for each connection ("" is silence until the end).
class Upstream {
 public:
  Upstream(std::string answer, const std::string& unix_path = "") : answer_(std::move(answer)) {
    if (unix_path.empty()) {
      fd_ = Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
      sockaddr_in any{};
      any.sin_family = AF_INET;
      any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
      socklen_t bytes = sizeof any;
      bind(fd_.get(), reinterpret_cast<sockaddr*>(&any), bytes);
      getsockname(fd_.get(), reinterpret_cast<sockaddr*>(&any), &bytes);
      address.port = ntohs(any.sin_port);
    } else {
      fd_ = Fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
      sockaddr_un path{};
      path.sun_family = AF_UNIX;
      unix_path.copy(path.sun_path, sizeof path.sun_path - 1);
      bind(fd_.get(), reinterpret_cast<sockaddr*>(&path), sizeof path);
      address.unix_path = unix_path;
    }
    listen(fd_.get(), 16);
    thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
  }

  RuntimeAddress address;

 private:
  void run(const std::stop_token& stop) {
    std::vector<Fd> open;
    while (!stop.stop_requested()) {
      pollfd wait{fd_.get(), POLLIN, 0};
      if (poll(&wait, 1, 20) != 1) continue;
      open.emplace_back(accept4(fd_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      char buffer[4096];
      if (recv(open.back().get(), buffer, sizeof buffer, 0) > 0 && !answer_.empty()) {
        send(open.back().get(), answer_.data(), answer_.size(), MSG_NOSIGNAL);
      }
    }
  }

  std::string answer_;
  Fd fd_;
  std::jthread thread_;
};

class ProxyTest : public testing::Test {
 protected:
  void begin(const RuntimeAddress& upstream, ProxyOptions options = {}) {
    options.address = {.host = "127.0.0.1", .port = 0, .is_loopback = true};
    options.upstream = upstream;
    std::vector<std::unique_ptr<Filter>> filters;
    filters.push_back(metrics_filter(metrics_, "asset-1"));
    filters.push_back(gate_filter(gate_));
    gate_.set(Gate::Door::kOpen);
    proxy_ = std::make_unique<Proxy>(std::move(options), std::move(filters), obs::Log());
    proxy_->open();
  }
  Fd connect_to_proxy() { return connect_to(proxy_->port()); }
  static Fd connect_to(std::uint16_t port) {
    Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in target{};
    target.sin_family = AF_INET;
    target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    target.sin_port = htons(port);
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&target), sizeof target), 0);
    const timeval limit{20, 0};
    setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    return fd;
  }
  static void say(const Fd& fd, std::string_view text) {
    EXPECT_EQ(send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  /// All until the proxy closes.
  static std::string hear(const Fd& fd) {
    std::string out;
    char buffer[4096];
    for (ssize_t got = 0; (got = recv(fd.get(), buffer, sizeof buffer, 0)) > 0;)
      out.append(buffer, static_cast<std::size_t>(got));
    return out;
  }
  std::string ask(std::string_view request = "GET /v1/models HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n") {
    const Fd fd = connect_to_proxy();
    say(fd, request);
    return hear(fd);
  }

  obs::Metrics metrics_;
  Gate gate_;
  std::unique_ptr<Proxy> proxy_;
};

constexpr const char* kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

TEST_F(ProxyTest, GateDecides) {
  Upstream upstream(kOk);
  begin(upstream.address);
  EXPECT_TRUE(ask().starts_with("HTTP/1.1 200 "));
  gate_.set(Gate::Door::kNotReady);
  const std::string not_ready = ask();
  EXPECT_TRUE(not_ready.starts_with("HTTP/1.1 503 "));
  EXPECT_NE(not_ready.find("Retry-After: "), std::string::npos);
  gate_.set(Gate::Door::kTraining);
  EXPECT_TRUE(ask().starts_with("HTTP/1.1 503 "));
  gate_.set(Gate::Door::kSuspended);
  EXPECT_TRUE(ask().starts_with("HTTP/1.1 403 "));
}

TEST_F(ProxyTest, ARuntimeOnAUnixSocket) {
  std::string pattern = testing::TempDir() + "/proxy-XXXXXX";
  const std::string dir = mkdtemp(pattern.data());
  {
    Upstream upstream(kOk, dir + "/runtime.sock");
    begin(upstream.address);
    EXPECT_TRUE(ask().ends_with("\r\n\r\nok"));
    proxy_.reset();
  }
  std::filesystem::remove_all(dir);
}

TEST_F(ProxyTest, NoRuntimeAndASilentOne) {
  begin({.unix_path = "/no/such/socket"});
  EXPECT_TRUE(ask().starts_with("HTTP/1.1 502 "));
  Upstream silent("");
  begin(silent.address, {.upstream_ms = 200});
  EXPECT_TRUE(ask().starts_with("HTTP/1.1 504 "));
}

TEST_F(ProxyTest, ARuntimeThatStopsInTheMiddle) {
  Upstream stalls("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf");
  begin(stalls.address, {.upstream_ms = 200});
  const std::string answer = ask();
  EXPECT_TRUE(answer.ends_with("half"));
}

TEST_F(ProxyTest, SlowClientsAreCut) {
  Upstream upstream(kOk);
  begin(upstream.address, {.head_ms = 200, .idle_ms = 200, .client_ms = 200});
  const Fd idle = connect_to_proxy();
  const Fd slow_head = connect_to_proxy();
  say(slow_head, "GET /v1/models HTTP/1.1\r\nHo");
  const Fd slow_body = connect_to_proxy();
  say(slow_body, "POST /v1/completions HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
  EXPECT_EQ(hear(idle), "");
  EXPECT_EQ(hear(slow_head), "");
  (void)hear(slow_body);
}

TEST_F(ProxyTest, PipelinedRequestsAreAnsweredInOrder) {
  Upstream upstream(kOk);
  begin(upstream.address, {.pool_size = 0});
  const std::string both =
      ask("GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\nGET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  EXPECT_TRUE(both.starts_with("HTTP/1.1 200 "));
  EXPECT_GT(both.find("HTTP/1.1 403 "), both.find("\r\n\r\nok"));
  EXPECT_NE(both.find("HTTP/1.1 403 "), std::string::npos);
}

TEST_F(ProxyTest, ContractsCanOnlyNarrow) {
  Upstream upstream(kOk);
  begin(upstream.address, {.pool_size = 0});
  proxy_->narrow({"/v1/completions", "/metrics"});
  EXPECT_TRUE(ask().starts_with("HTTP/1.1 403 "));
  EXPECT_TRUE(ask("GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").starts_with("HTTP/1.1 403 "));
  proxy_->narrow({});
  EXPECT_TRUE(ask().starts_with("HTTP/1.1 200 "));
}

TEST_F(ProxyTest, CutEndsWhatIsUnderWayAndStopEndsAll) {
  Upstream silent("");
  begin(silent.address);
  const Fd waiting = connect_to_proxy();
  say(waiting, "GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n");
  for (int i = 0;
       i < 2000 && metrics_.gauge("trustbridge_sentinel_requests_in_flight", "requests under way").value() == 0; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  proxy_->cut(reason_of(Gate::Door::kSuspended));
  EXPECT_TRUE(hear(waiting).starts_with("HTTP/1.1 403 "));
  EXPECT_EQ(metrics_.gauge("trustbridge_sentinel_requests_in_flight", "requests under way").value(), 0);
  const Fd idle = connect_to_proxy();
  const std::int64_t began = boot_ms_now();
  proxy_->stop(60'000);
  EXPECT_LT(boot_ms_now() - began, 30'000) << "an idle connection must not hold the end up";
  EXPECT_EQ(hear(idle), "");
}

/// Holds the loop up in a request until it is let go, which no filter may do.
class HangingFilter final : public Filter {
 public:
  std::unique_ptr<Visit> visit(const Exchange&) override { return std::make_unique<HangingVisit>(*this); }
  std::latch hung{1}, let_go{1};

 private:
  struct HangingVisit final : Visit {
    explicit HangingVisit(HangingFilter& filter) : filter_(filter) {}
    std::optional<Refusal> on_request(Exchange&) override {
      filter_.hung.count_down();
      filter_.let_go.wait();
      return std::nullopt;
    }
    HangingFilter& filter_;
  };
};

TEST_F(ProxyTest, ALoopThatHangsDoesNotTurn) {
  auto hanging = std::make_unique<HangingFilter>();
  HangingFilter& filter = *hanging;
  std::vector<std::unique_ptr<Filter>> filters;
  filters.push_back(std::move(hanging));
  Upstream upstream(kOk);
  Proxy proxy({.address = {.host = "127.0.0.1", .port = 0, .is_loopback = true}, .upstream = upstream.address},
              std::move(filters), obs::Log());
  EXPECT_TRUE(proxy.turns_within(60'000)) << "before it is open, too";
  proxy.open();
  const Fd client = connect_to(proxy.port());
  say(client, "GET /v1/models HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
  filter.hung.wait();
  EXPECT_FALSE(proxy.turns_within(50));
  filter.let_go.count_down();
  EXPECT_TRUE(proxy.turns_within(60'000));
  proxy.stop(0);
  EXPECT_TRUE(proxy.turns_within(0)) << "what has ended does not hang";
}

TEST_F(ProxyTest, TooManyConnectionsAreClosedAtOnce) {
  Upstream upstream(kOk);
  begin(upstream.address, {.max_connections = 1});
  const Fd first = connect_to_proxy();
  say(first, "GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n");
  char byte = 0;
  ASSERT_EQ(recv(first.get(), &byte, 1, 0), 1);
  EXPECT_EQ(hear(connect_to_proxy()), "");
}

}  // namespace
}  // namespace tb::sentinel::proxy
