// For the tests of this folder: a proxy in this process between a client that writes raw bytes and a runtime that does
// what a test's script says, and filters made of functions.
#pragma once

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <list>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/fs.h"
#include "sentinel/proxy/chunked.h"
#include "sentinel/proxy/filters.h"
#include "sentinel/proxy/proxy.h"

namespace tb::sentinel::proxy::test {

/// Long enough for a machine that is busy with other things.
inline constexpr int kPatienceMs = 30'000;

inline bool eventually(const std::function<bool()>& is_so) {
  for (const std::int64_t deadline = boot_ms_now() + kPatienceMs; boot_ms_now() < deadline;) {
    if (is_so()) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return is_so();
}

/// A connected socket and what was read from it.
class Wire {
 public:
  explicit Wire(Fd fd) : fd_(fd.release()) {}
  Wire(Wire&& other) noexcept : heard(std::move(other.heard)), fd_(other.fd_.exchange(-1)) {}
  ~Wire() { close(); }
  int fd() const { return fd_; }
  bool say(std::string_view text) {
    while (!text.empty()) {
      const ssize_t sent = send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      text.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }
  /// Reads once; false at an end, an error, or when nothing has come for long.
  bool more() {
    pollfd wait{fd_, POLLIN, 0};
    if (poll(&wait, 1, kPatienceMs) != 1) {
      timed_out = true;
      return false;
    }
    char buffer[65536];
    const ssize_t got = recv(fd_, buffer, sizeof buffer, 0);
    if (got < 0) reset = true;
    if (got <= 0) return false;
    heard.append(buffer, static_cast<std::size_t>(got));
    return true;
  }
  /// All until the peer closes.
  const std::string& to_end() {
    while (more()) {
    }
    return heard;
  }
  /// Until `text` has come; false if the peer closes before.
  bool until(std::string_view text) {
    while (heard.find(text) == std::string::npos) {
      if (!more()) return false;
    }
    return true;
  }
  /// A head and, where it has one, a body of Content-Length or chunked.
  std::string message() {
    if (!until("\r\n\r\n")) return std::exchange(heard, {});
    std::size_t end = heard.find("\r\n\r\n") + 4;
    const std::string head = heard.substr(0, end);
    if (const std::size_t at = head.find("\r\nContent-Length: "); at != std::string::npos) {
      end += std::strtoul(head.c_str() + at + 18, nullptr, 10);
      while (heard.size() < end && more()) {
      }
    } else if (head.find("\r\nTransfer-Encoding: chunked") != std::string::npos) {
      if (!until("\r\n0\r\n\r\n")) return std::exchange(heard, {});
      end = heard.find("\r\n0\r\n\r\n") + 7;
    }
    std::string out = heard.substr(0, end);
    heard.erase(0, end);
    return out;
  }
  void end_writing() { shutdown(fd_, SHUT_WR); }
  void close() {
    if (const int fd = fd_.exchange(-1); fd >= 0) ::close(fd);
  }
  void close_hard() {
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    setsockopt(fd_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close();
  }

  std::string heard;
  bool reset = false, timed_out = false;

 private:
  std::atomic<int> fd_;  ///< closed by the thread of a script, looked at by the one that ends them
};

/// A runtime: `script` runs for each connection, on a thread of its own, with the connection's number.
class Runtime {
 public:
  using Script = std::function<void(Wire& wire, int connection)>;
  explicit Runtime(Script script) : script_(std::move(script)), listener_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t bytes = sizeof any;
    EXPECT_EQ(bind(listener_.get(), reinterpret_cast<sockaddr*>(&any), bytes), 0);
    EXPECT_EQ(listen(listener_.get(), 64), 0);
    getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&any), &bytes);
    address.port = ntohs(any.sin_port);
    accepter_ = std::thread([this] {
      while (true) {
        Fd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
        if (!fd) return;
        const int number = connections++;
        const std::scoped_lock lock(mutex_);
        Wire& wire = wires_.emplace_back(std::move(fd));
        threads_.emplace_back([this, &wire, number] {
          script_(wire, number);
          shutdown(wire.fd(), SHUT_RDWR);
        });
      }
    });
  }
  ~Runtime() {
    shutdown(listener_.get(), SHUT_RDWR);
    accepter_.join();
    {
      const std::scoped_lock lock(mutex_);
      for (Wire& wire : wires_) shutdown(wire.fd(), SHUT_RDWR);
    }
    for (std::thread& thread : threads_) thread.join();
  }
  /// Answers every request of a connection with `answer`.
  static Script answering(std::string answer) {
    return [answer](Wire& wire, int) {
      while (!wire.message().empty() && wire.say(answer)) {
      }
    };
  }

  RuntimeAddress address;
  std::atomic<int> connections = 0;

 private:
  Script script_;
  Fd listener_;
  std::mutex mutex_;
  std::list<Wire> wires_;
  std::vector<std::thread> threads_;
  std::thread accepter_;
};

/// A transform made of a function; `feed(in, last, out)`.
class FunctionTransform final : public BodyTransform {
 public:
  using Feed = std::function<std::optional<Refusal>(std::string_view in, bool last, std::string& out)>;
  explicit FunctionTransform(Feed feed) : feed_(std::move(feed)) {}
  std::optional<Refusal> feed(ByteView in, bool last, std::string& out) override {
    return feed_(as_text(in), last, out);
  }
  bool ends_here() const override { return end; }
  bool end = false;

 private:
  Feed feed_;
};

/// What one filter saw of the last request, and what it does.
struct Script {
  std::function<std::optional<Refusal>(Exchange&)> on_request;
  FunctionTransform* request = nullptr;
  FunctionTransform* response = nullptr;
  std::function<void(ResponseHead&)> on_head;
  std::optional<DrainBounds> drain;
  /// Of the last request that has ended.
  std::mutex mutex;
  std::string sent, received;
  Exchange last;
  int ended = 0;
  int left = 0;
};

class ScriptFilter final : public Filter {
 public:
  explicit ScriptFilter(Script& script) : script_(script) {}
  std::unique_ptr<Visit> visit(const Exchange&) override { return std::make_unique<ScriptVisit>(script_); }

 private:
  class ScriptVisit final : public Visit {
   public:
    explicit ScriptVisit(Script& script) : script_(script) {}
    std::optional<Refusal> on_request(Exchange& exchange) override {
      return script_.on_request ? script_.on_request(exchange) : std::nullopt;
    }
    BodyTransform* request_transform(Exchange&) override { return script_.request; }
    void on_request_chunk(Exchange&, ByteView bytes) override { received_.append(as_text(bytes)); }
    BodyTransform* response_transform(Exchange&, ResponseHead& head) override {
      if (script_.on_head) script_.on_head(head);
      return script_.response;
    }
    void on_response_chunk(Exchange&, ByteView bytes) override { sent_.append(as_text(bytes)); }
    std::optional<DrainBounds> on_client_left(Exchange&) override {
      const std::scoped_lock lock(script_.mutex);
      ++script_.left;
      return script_.drain;
    }
    void on_end(Exchange& exchange) override {
      const std::scoped_lock lock(script_.mutex);
      script_.sent = sent_;
      script_.received = received_;
      script_.last = exchange;
      ++script_.ended;
    }

   private:
    Script& script_;
    std::string sent_, received_;
  };
  Script& script_;
};

class ProxyCase : public testing::Test {
 protected:
  /// `last`: a filter that stands next to the runtime, after the scripts.
  void begin(const RuntimeAddress& upstream, ProxyOptions options = {}, std::unique_ptr<Filter> last = nullptr) {
    options.address = {.host = "127.0.0.1", .port = 0, .is_loopback = true};
    options.upstream = upstream;
    std::vector<std::unique_ptr<Filter>> filters;
    filters.push_back(gate_filter(gate_));
    filters.push_back(std::make_unique<ScriptFilter>(first_));
    filters.push_back(std::make_unique<ScriptFilter>(second_));
    if (last) filters.push_back(std::move(last));
    gate_.set(Gate::Door::kOpen);
    proxy_ = std::make_unique<Proxy>(std::move(options), std::move(filters), obs::Log(), &metrics_);
    proxy_->open();
  }
  Wire client(int receive_bytes = 0) {
    Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    if (receive_bytes > 0) setsockopt(fd.get(), SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
    sockaddr_in target{};
    target.sin_family = AF_INET;
    target.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    target.sin_port = htons(proxy_->port());
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<sockaddr*>(&target), sizeof target), 0);
    return Wire(std::move(fd));
  }
  static std::string post(std::string_view body, std::string_view more = "") {
    return "POST /v1/completions HTTP/1.1\r\nHost: a\r\n" + std::string(more) +
           "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
  }
  static std::string chunked(std::string_view body, std::size_t piece_bytes) {
    std::string out = "POST /v1/completions HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (; !body.empty(); body.remove_prefix(std::min(body.size(), piece_bytes))) {
      const std::string_view piece = body.substr(0, piece_bytes);
      char size[32];
      (void)std::snprintf(size, sizeof size, "%zx\r\n", piece.size());
      out += size + std::string(piece) + "\r\n";
    }
    return out + "0\r\n\r\n";
  }
  /// The chunked body at the end of `message`, decoded; "(bad)" if it is none.
  static std::string dechunked(std::string_view message) {
    ChunkedDecoder decoder;
    std::string out;
    std::string_view rest = message.substr(std::min(message.size(), message.find("\r\n\r\n") + 4));
    while (true) {
      const auto step = decoder.next(rest);
      out += step.data;
      rest.remove_prefix(step.consumed);
      if (step.kind == ChunkedDecoder::Kind::kEnd) return rest.empty() ? out : "(more)";
      if (step.kind != ChunkedDecoder::Kind::kData) return "(bad) " + out;
    }
  }
  static std::string body_of(std::string_view message) {
    return std::string(message.substr(std::min(message.size(), message.find("\r\n\r\n") + 4)));
  }
  /// The body of a message of either framing.
  static std::string content(std::string_view message) {
    return message.find("\r\nContent-Length: ") == std::string_view::npos ? dechunked(message) : body_of(message);
  }
  bool has_ended(int requests = 1) {
    return eventually([&] {
      const std::scoped_lock lock(second_.mutex);
      return second_.ended >= requests;
    });
  }
  std::uint64_t counted(const char* name) { return metrics_.counter(name, "").value(); }

  obs::Metrics metrics_;
  Gate gate_;
  Script first_, second_;  ///< of two filters, in this order; they outlive the proxy
  std::unique_ptr<Proxy> proxy_;
};

}  // namespace tb::sentinel::proxy::test
