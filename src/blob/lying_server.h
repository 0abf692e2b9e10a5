// For tests only: an HTTP range server on loopback that can tell every lie a store could.
//
// It serves one blob honestly by default. A test sets `on_request` to change single answers: status, headers, body,
// where the connection is reset or stalls, or bytes that are no answer at all. One thread a connection, keep-alive, no
// limits: never for anything but tests.
#pragma once

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/bytes.h"
#include "base/fs.h"
#include "http/range.h"

namespace tb::blob {

class LyingServer {
 public:
  struct Asked {
    int number = 0;  ///< of this request, from 0
    std::string target;
    std::optional<http::ByteRange> range;
    std::string if_match;
  };
  struct Reply {
    int status = 200;
    std::map<std::string, std::string> headers;
    std::string more_head;  ///< further lines of the head as they are, each with its line end
    Bytes body;
    std::optional<std::size_t> content_length;  ///< another than body.size()
    std::optional<std::size_t> reset_after;     ///< bytes of the body, then the connection is reset
    std::optional<std::size_t> stall_after;     ///< bytes of the body, then nothing until the server ends
    bool chunked = false;
    bool byte_by_byte = false;         ///< each byte of the body in a segment of its own
    std::string after_body;            ///< bytes that belong to no answer; the connection stays open
    bool after_body_at_once = false;   ///< in one segment with the body
    std::optional<std::string> raw;    ///< instead of all else; the connection is closed after it
    std::optional<int> reset_in_head;  ///< bytes of the head, then the connection is reset
  };
  using OnRequest = std::function<void(const Asked&, Reply&)>;

  explicit LyingServer(Bytes blob, OnRequest on_request = nullptr)
      : blob_(std::move(blob)), on_request_(std::move(on_request)) {
    listener_ = Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* raw = reinterpret_cast<sockaddr*>(&address);
    if (bind(listener_.get(), raw, size) != 0 || listen(listener_.get(), 64) != 0 ||
        getsockname(listener_.get(), raw, &size) != 0) {
      throw Error("internal", "the test's server cannot listen");
    }
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept_all(); });
  }
  ~LyingServer() {
    stop_ = true;
    acceptor_.join();
    for (std::thread& thread : threads_) thread.join();
  }
  LyingServer(const LyingServer&) = delete;
  LyingServer& operator=(const LyingServer&) = delete;

  std::string url(const std::string& target = "/model.tbenc?sig=first") const {
    return fmt::format("http://127.0.0.1:{}{}", port_, target);
  }
  int requests() const { return requests_; }
  /// Until every answer so far has arrived, with all that follows it.
  void wait_until_answered() const {
    while (answered_ < requests_) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  std::vector<Asked> asked() const {
    const std::lock_guard lock(mutex_);
    return asked_;
  }

  /// 206 with exactly the range, or 200 with everything.
  Reply honest(const Asked& asked) const {
    Reply reply;
    reply.headers["ETag"] = "\"one\"";
    if (!asked.range) {
      reply.body = blob_;
      return reply;
    }
    if (asked.range->first >= blob_.size()) {
      reply.status = 416;
      return reply;
    }
    const std::uint64_t last = std::min<std::uint64_t>(asked.range->last, blob_.size() - 1);
    reply.status = 206;
    reply.headers["Content-Range"] = fmt::format("bytes {}-{}/{}", asked.range->first, last, blob_.size());
    reply.body.assign(blob_.begin() + static_cast<std::ptrdiff_t>(asked.range->first),
                      blob_.begin() + static_cast<std::ptrdiff_t>(last + 1));
    return reply;
  }

 private:
  void accept_all() {
    while (!stop_) {
      pollfd ready{listener_.get(), POLLIN, 0};
      if (poll(&ready, 1, 20) <= 0) continue;
      const int fd = accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC);
      if (fd >= 0) threads_.emplace_back([this, fd] { serve(Fd(fd)); });
    }
  }

  void serve(Fd connection) {
    std::string input;
    while (!stop_) {
      pollfd ready{connection.get(), POLLIN, 0};
      if (poll(&ready, 1, 20) <= 0) continue;
      char buffer[4096];
      const ssize_t n = recv(connection.get(), buffer, sizeof buffer, 0);
      if (n <= 0) return;
      input.append(buffer, static_cast<std::size_t>(n));
      const auto end = input.find("\r\n\r\n");
      if (end == std::string::npos) continue;
      const Asked asked = parse(input.substr(0, end + 2));
      input.erase(0, end + 4);
      Reply reply = honest(asked);
      {
        const std::lock_guard lock(mutex_);
        asked_.push_back(asked);
        if (on_request_) on_request_(asked, reply);
      }
      const bool goes_on = answer(connection.get(), reply);
      ++answered_;
      if (!goes_on) return;
    }
  }

  Asked parse(const std::string& head) {
    Asked asked;
    asked.number = requests_++;
    asked.target = head.substr(head.find(' ') + 1, head.find(' ', head.find(' ') + 1) - head.find(' ') - 1);
    const auto field = [&head](std::string_view name) {
      const auto at = head.find(fmt::format("\r\n{}: ", name));
      if (at == std::string::npos) return std::string();
      const auto from = at + name.size() + 4;
      return head.substr(from, head.find("\r\n", from) - from);
    };
    asked.if_match = field("If-Match");
    if (const std::string range = field("Range"); range.starts_with("bytes=")) {
      const auto dash = range.find('-');
      asked.range = {std::stoull(range.substr(6, dash - 6)), std::stoull(range.substr(dash + 1))};
    }
    return asked;
  }

  /// False if the connection is to be closed.
  bool answer(int fd, const Reply& reply) {
    if (reply.raw) {
      send_all(fd, as_bytes(*reply.raw));
      return false;
    }
    std::string head = fmt::format("HTTP/1.1 {} X\r\n", reply.status);
    for (const auto& [name, value] : reply.headers) head += name + ": " + value + "\r\n";
    head += reply.more_head;
    if (reply.chunked) {
      head += "Transfer-Encoding: chunked\r\n\r\n";
    } else {
      head += fmt::format("Content-Length: {}\r\n\r\n", reply.content_length.value_or(reply.body.size()));
    }
    if (reply.reset_in_head) {
      send_all(fd, as_bytes(head.substr(0, static_cast<std::size_t>(*reply.reset_in_head))));
      return reset(fd);
    }
    if (!send_all(fd, as_bytes(head))) return false;
    const std::size_t some =
        std::min(reply.reset_after.value_or(reply.stall_after.value_or(reply.body.size())), reply.body.size());
    const ByteView body = ByteView(reply.body).first(some);
    if (reply.chunked && some > 0) send_all(fd, as_bytes(fmt::format("{:x}\r\n", some)));
    if (reply.byte_by_byte) {
      const int on = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      for (std::size_t i = 0; i < body.size(); ++i) {
        if (!send_all(fd, body.subspan(i, 1))) return false;
      }
    } else if (reply.after_body_at_once) {
      Bytes both(body.begin(), body.end());
      both.insert(both.end(), reply.after_body.begin(), reply.after_body.end());
      return send_all(fd, both) && arrived(fd);
    } else if (!send_all(fd, body)) {
      return false;
    }
    if (reply.chunked) send_all(fd, as_bytes(some > 0 ? "\r\n0\r\n\r\n" : "0\r\n\r\n"));
    if (reply.reset_after) return reset(fd);
    if (!reply.after_body.empty() && !(send_all(fd, as_bytes(reply.after_body)) && arrived(fd))) return false;
    if (reply.stall_after) {
      while (!stop_) std::this_thread::sleep_for(std::chrono::milliseconds(10));
      return false;
    }
    return !reply.content_length;
  }

  static bool reset(int fd) {
    // What was sent should arrive before the reset does.
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    const linger hard{1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    return false;
  }

  /// Waits until the peer's kernel has everything.
  static bool arrived(int fd) {
    for (int unsent = 1; ioctl(fd, SIOCOUTQ, &unsent) == 0 && unsent > 0;) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
  }

  static bool send_all(int fd, ByteView bytes) {
    while (!bytes.empty()) {
      const ssize_t n = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
    return true;
  }

  Bytes blob_;
  OnRequest on_request_;
  Fd listener_;
  std::uint16_t port_ = 0;
  std::atomic<int> requests_ = 0, answered_ = 0;
  std::atomic<bool> stop_ = false;
  mutable std::mutex mutex_;
  std::vector<Asked> asked_;
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

}  // namespace tb::blob
