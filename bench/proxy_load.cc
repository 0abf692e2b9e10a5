// Load and runtime of the proxy's benchmark in one thread, so that both together need one core: clients that send
// requests to a port, and the runtime that the proxy there passes them to. One mode a run, one line of JSON at its end.
//
//   proxy_load RUNTIME_PORT TARGET_PORT requests KEY CONNECTIONS SECONDS REQUEST_BYTES ANSWER_BYTES RATE
//       closed loop where RATE is 0, else so many requests a second, latency from when each was due
//   proxy_load RUNTIME_PORT TARGET_PORT streams KEY STREAMS SECONDS EVENTS_PER_SECOND HOLD_SECONDS
//       server-sent events on all streams in turn; each carries when it was sent; HOLD: waits before it ends
//   proxy_load RUNTIME_PORT TARGET_PORT up|down KEY BYTES
//       one body of that size to or from the runtime
// TARGET_PORT equal to RUNTIME_PORT: no proxy between them.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <deque>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "base/fs.h"

namespace {

using tb::Fd;

std::int64_t ns_now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

double own_cpu() {
  rusage used{};
  getrusage(RUSAGE_THREAD, &used);
  return static_cast<double>(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
         static_cast<double>(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
}

sockaddr_in loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  return address;
}

std::uint64_t length_in(std::string_view head) {
  constexpr std::string_view kName = "\r\nContent-Length: ";
  const std::size_t at = head.find(kName);
  std::uint64_t length = 0;
  if (at != std::string_view::npos) {
    std::from_chars(head.data() + at + kName.size(), head.data() + head.size(), length);
  }
  return length;
}

/// JSON of `bytes` in all, as far as its frame lets it.
std::string padded(std::string_view before, std::string_view after, double bytes, char fill) {
  const auto all = static_cast<std::size_t>(bytes);
  const std::size_t frame = before.size() + after.size();
  return std::string(before) + std::string(all > frame ? all - frame : 0, fill) + std::string(after);
}

/// Around a text of a GiB.
constexpr std::string_view kRequestBegin = R"({"model":"m","max_tokens":16,"prompt":")", kRequestEnd = "\"}";
constexpr std::string_view kAnswerBegin = R"({"id":"cmpl-1","object":"text_completion","choices":[{"index":0,"text":")",
                           kAnswerEnd = R"("}],"usage":{"prompt_tokens":1,"completion_tokens":16,"total_tokens":17}})";

struct Connection {
  Fd fd;
  bool is_client = false;
  std::string held;             ///< of a head
  std::uint64_t body_left = 0;  ///< of the message that is coming in
  bool in_body = false;
  bool chunked = false;    ///< and ends with the last chunk; so does the read that it comes in
  std::string last_bytes;  ///< of a chunked body
  std::int64_t due_ns = 0;
  bool busy = false;
  bool streams = false;
  std::string_view rest;        ///< of what goes out and is not sent yet
  std::uint64_t bulk_left = 0;  ///< more to go out, of one letter
  std::string_view tail;        ///< and after that
};

struct Options {
  int runtime_port = 0, target_port = 0;
  std::string mode, key;
  std::vector<double> numbers;
};

class Bench {
 public:
  explicit Bench(Options options) : options_(std::move(options)), epoll_(epoll_create1(EPOLL_CLOEXEC)) {
    listener_ = Fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    const int on = 1;
    setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(listener_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    const sockaddr_in address = loopback(options_.runtime_port);
    if (bind(listener_.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0 ||
        listen(listener_.get(), 4096) != 0) {
      throw std::runtime_error("the runtime's port is taken");
    }
    epoll_event event{.events = EPOLLIN, .data = {.ptr = nullptr}};
    epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, listener_.get(), &event);
  }

  void run() {
    if (options_.mode == "requests") return requests();
    if (options_.mode == "streams") return streams();
    bulk();
  }

 private:
  double number(std::size_t at) const { return options_.numbers.at(at); }

  Connection& add(Fd fd, bool is_client) {
    Connection& connection = *connections_.emplace_back(std::make_unique<Connection>());
    connection.fd = std::move(fd);
    connection.is_client = is_client;
    epoll_event event{.events = EPOLLIN, .data = {.ptr = &connection}};
    epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, connection.fd.get(), &event);
    return connection;
  }

  Connection& connect_client() {
    Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_in address = loopback(options_.target_port);
    if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
      throw std::runtime_error("the proxy does not listen");
    }
    const int on = 1;
    setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return add(std::move(fd), true);
  }

  std::string head(std::string_view method, std::string_view target, std::uint64_t body_bytes) const {
    return fmt::format(
        "{} {} HTTP/1.1\r\nHost: 127.0.0.1:8000\r\nAuthorization: Bearer {}\r\nUser-Agent: bench/1\r\n"
        "Accept: application/json\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        method, target, options_.key, body_bytes);
  }

  /// Sends what can be sent of rest and bulk, and watches for more room if there is none.
  void push(Connection& connection) {
    while (!connection.rest.empty() || connection.bulk_left > 0 || !connection.tail.empty()) {
      if (connection.rest.empty() && connection.bulk_left > 0) {
        connection.rest = std::string_view(letters_).substr(0, connection.bulk_left);
        connection.bulk_left -= connection.rest.size();
      } else if (connection.rest.empty()) {
        connection.rest = std::exchange(connection.tail, {});
      }
      const ssize_t sent =
          send(connection.fd.get(), connection.rest.data(), connection.rest.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent < 0) {
        if (errno != EAGAIN) throw std::runtime_error("a connection broke while it was written to");
        return watch(connection, true);
      }
      connection.rest.remove_prefix(static_cast<std::size_t>(sent));
    }
    watch(connection, false);
  }

  void watch(Connection& connection, bool writing) {
    if (!writing && !full_) return;
    full_ = full_ || writing;
    epoll_event event{.events = writing ? EPOLLIN | EPOLLOUT : EPOLLIN, .data = {.ptr = &connection}};
    epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, connection.fd.get(), &event);
  }

  void say(Connection& connection, std::string_view text, std::uint64_t bulk = 0, std::string_view tail = {}) {
    connection.rest = text;
    connection.bulk_left = bulk;
    connection.tail = tail;
    push(connection);
  }

  void wait(std::int64_t most_ns) {
    std::array<epoll_event, 128> events;
    const timespec timeout{.tv_sec = most_ns / 1'000'000'000, .tv_nsec = most_ns % 1'000'000'000};
    const int count = epoll_pwait2(epoll_.get(), events.data(), static_cast<int>(events.size()), &timeout, nullptr);
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events[static_cast<std::size_t>(i)];
      if (event.data.ptr == nullptr) {
        accept_all();
        continue;
      }
      auto& connection = *static_cast<Connection*>(event.data.ptr);
      if ((event.events & EPOLLOUT) != 0) push(connection);
      if ((event.events & ~EPOLLOUT) != 0) receive(connection);
    }
  }

  void accept_all() {
    while (true) {
      Fd fd(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (!fd) return;
      add(std::move(fd), false);
    }
  }

  void receive(Connection& connection) {
    const ssize_t got = recv(connection.fd.get(), room_.data(), room_.size(), MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
      if (connection.busy && !ending_) throw std::runtime_error("the proxy closed a connection before its answer");
      std::erase(streams_, &connection);
      epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, connection.fd.get(), nullptr);
      connection.fd = Fd();
      return;
    }
    std::string_view bytes(room_.data(), static_cast<std::size_t>(got));
    if (connection.is_client && connection.streams) return read_events(connection, bytes);
    while (!bytes.empty()) {
      if (!connection.in_body) {
        connection.held.append(bytes);
        const std::size_t end = connection.held.find("\r\n\r\n");
        if (end == std::string::npos) return;
        const std::size_t of_body = connection.held.size() - end - 4;
        bytes = bytes.substr(bytes.size() - of_body);
        connection.body_left = length_in(std::string_view(connection.held).substr(0, end + 2));
        connection.in_body = true;
        connection.chunked =
            std::string_view(connection.held).substr(0, end).find("Transfer-Encoding: chunked") != std::string::npos;
      }
      if (connection.chunked) {
        constexpr std::string_view kLast = "\r\n0\r\n\r\n";
        connection.last_bytes.append(bytes.substr(bytes.size() - std::min(bytes.size(), kLast.size())));
        connection.last_bytes.erase(
            0, connection.last_bytes.size() - std::min(connection.last_bytes.size(), kLast.size()));
        if (connection.last_bytes != kLast) return;
        connection.last_bytes.clear();
        connection.in_body = false;
        whole(connection);
        connection.held.clear();
        return;
      }
      const auto taken = static_cast<std::size_t>(std::min<std::uint64_t>(connection.body_left, bytes.size()));
      connection.body_left -= taken;
      bytes.remove_prefix(taken);
      if (connection.body_left > 0) return;
      connection.in_body = false;
      whole(connection);
      connection.held.clear();
    }
    if (connection.in_body && connection.body_left == 0) {
      connection.in_body = false;
      whole(connection);
      connection.held.clear();
    }
  }

  /// A message has come as a whole; its head is held.
  void whole(Connection& connection) {
    if (connection.is_client) {
      const bool good = connection.held.starts_with("HTTP/1.1 200 ");
      if (!good && bad_++ == 0) fmt::print(stderr, "proxy_load: {}\n", connection.held);
      latency_ns_.push_back(ns_now() - connection.due_ns);
      connection.busy = false;
      free_.push_back(&connection);
      return;
    }
    if (options_.mode == "requests") return say(connection, answer_);
    if (options_.mode == "up") return say(connection, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    if (options_.mode == "down") {
      const auto bytes = static_cast<std::uint64_t>(number(0));
      down_head_ = fmt::format("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{}",
                               kAnswerBegin.size() + bytes + kAnswerEnd.size(), kAnswerBegin);
      return say(connection, down_head_, bytes, kAnswerEnd);
    }
    say(connection,
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
        "Transfer-Encoding: chunked\r\n\r\n");
    streams_.push_back(&connection);
  }

  void read_events(Connection& connection, std::string_view bytes) {
    connection.held.append(bytes);
    const std::int64_t now = ns_now();
    constexpr std::string_view kStamp = "\"sent\":";
    std::size_t used = 0;
    while (true) {
      const std::size_t at = connection.held.find(kStamp, used);
      const std::size_t end = connection.held.find("\n\n", at);
      if (at == std::string::npos || end == std::string::npos) break;
      std::int64_t sent = 0;
      std::from_chars(connection.held.data() + at + kStamp.size(), connection.held.data() + end, sent);
      latency_ns_.push_back(now - sent);
      used = end;
    }
    connection.held.erase(0, used);
  }

  void requests() {
    const auto connections = static_cast<std::size_t>(number(0));
    const auto length_ns = static_cast<std::int64_t>(number(1) * 1e9);
    const std::string body = padded(R"({"model":"m","max_tokens":16,"prompt":")", "\"}", number(2), 'x');
    const std::string request = head("POST", "/v1/completions", body.size()) + body;
    const std::string answer = padded(
        R"({"id":"cmpl-1","object":"text_completion","model":"m","choices":[{"index":0,"finish_reason":"stop","text":")",
        R"("}],"usage":{"prompt_tokens":200,"completion_tokens":16,"total_tokens":216}})", number(3), 'y');
    answer_ = fmt::format(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nServer: bench\r\nContent-Length: {}\r\n\r\n{}",
        answer.size(), answer);
    const double rate = number(4);
    for (std::size_t i = 0; i < connections; ++i) free_.push_back(&connect_client());
    latency_ns_.reserve(1 << 21);
    // One of each to begin with, which is not counted.
    for (Connection* connection : std::exchange(free_, {})) send_request(*connection, request, ns_now());
    while (free_.size() < connections) wait(1'000'000'000);
    latency_ns_.clear();
    const double cpu = own_cpu();
    const std::int64_t start = ns_now();
    std::int64_t sent = 0;
    while (true) {
      const std::int64_t now = ns_now();
      if (now - start >= length_ns) break;
      std::int64_t most = 100'000'000;
      if (rate == 0) {
        for (Connection* connection : std::exchange(free_, {})) send_request(*connection, request, now);
      } else {
        while (!free_.empty()) {
          const std::int64_t due = start + static_cast<std::int64_t>(static_cast<double>(sent) / rate * 1e9);
          if (due > now) {
            most = due - now;
            break;
          }
          Connection* connection = free_.back();
          free_.pop_back();
          send_request(*connection, request, due);
          ++sent;
        }
      }
      wait(most);
    }
    report(static_cast<double>(ns_now() - start) * 1e-9, own_cpu() - cpu);
  }

  void send_request(Connection& connection, std::string_view request, std::int64_t due) {
    connection.busy = true;
    connection.due_ns = due;
    say(connection, request);
  }

  void streams() {
    const auto count = static_cast<std::size_t>(number(0));
    const auto length_ns = static_cast<std::int64_t>(number(1) * 1e9);
    const double rate = number(2);
    const std::string body = R"({"model":"m","stream":true,"messages":[{"role":"user","content":"hello"}]})";
    const std::string request = head("POST", "/v1/chat/completions", body.size()) + body;
    for (std::size_t i = 0; i < count; ++i) {
      Connection& client = connect_client();
      client.streams = client.busy = true;
      say(client, request);
      while (streams_.size() <= i) wait(1'000'000'000);
    }
    const double cpu = own_cpu();
    const std::int64_t start = ns_now();
    std::string event;
    std::int64_t sent = 0;
    while (true) {
      const std::int64_t now = ns_now();
      if (now - start >= length_ns) break;
      const std::int64_t due = start + static_cast<std::int64_t>(static_cast<double>(sent) / rate * 1e9);
      if (due > now) {
        wait(due - now);
        continue;
      }
      event = fmt::format(
          R"(data: {{"id":"cmpl-1","object":"chat.completion.chunk","model":"m","choices":[{{"index":0,"delta":{{"content":" token"}}}}],"sent":{}}})"
          "\n\n",
          ns_now());
      chunk_ = fmt::format("{:x}\r\n{}\r\n", event.size(), event);
      say(*streams_[static_cast<std::size_t>(sent) % streams_.size()], chunk_);
      ++sent;
      wait(0);
    }
    const double wall = static_cast<double>(ns_now() - start) * 1e-9;
    const std::int64_t end = ns_now() + static_cast<std::int64_t>(number(3) * 1e9);
    while (static_cast<std::int64_t>(latency_ns_.size()) < sent || ns_now() < end) wait(10'000'000);
    report(wall, own_cpu() - cpu);
    ending_ = true;
  }

  void bulk() {
    const auto bytes = static_cast<std::uint64_t>(number(0));
    Connection& client = connect_client();
    client.busy = true;
    client.due_ns = ns_now();
    const double cpu = own_cpu();
    const std::int64_t start = ns_now();
    const std::uint64_t in_request = options_.mode == "up" ? bytes : 1;
    const std::string request =
        head("POST", "/v1/completions", kRequestBegin.size() + in_request + kRequestEnd.size()) +
        std::string(kRequestBegin);
    say(client, request, in_request, kRequestEnd);
    while (free_.empty()) wait(1'000'000'000);
    report(static_cast<double>(ns_now() - start) * 1e-9, own_cpu() - cpu);
  }

  void report(double wall, double cpu) {
    std::ranges::sort(latency_ns_);
    const auto at = [&](double part) {
      if (latency_ns_.empty()) return 0.0;
      const auto index = static_cast<std::size_t>(part * static_cast<double>(latency_ns_.size()));
      return static_cast<double>(latency_ns_[std::min(index, latency_ns_.size() - 1)]) * 1e-3;
    };
    fmt::print(
        R"({{"count":{},"bad":{},"seconds":{:.4f},"cpu_seconds":{:.4f},"p50_us":{:.1f},"p90_us":{:.1f},"p99_us":{:.1f}}})"
        "\n",
        latency_ns_.size(), bad_, wall, cpu, at(0.5), at(0.9), at(0.99));
    std::fflush(stdout);
  }

  Options options_;
  Fd epoll_, listener_;
  std::vector<std::unique_ptr<Connection>> connections_;
  std::vector<Connection*> free_, streams_;
  std::vector<std::int64_t> latency_ns_;
  std::array<char, 262144> room_;
  std::string letters_ = std::string(262144, 'z');
  std::string answer_, down_head_, chunk_;
  bool full_ = false, ending_ = false;
  std::size_t bad_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc < 6) {
    fmt::print(stderr, "usage: proxy_load RUNTIME_PORT TARGET_PORT MODE KEY NUMBER...\n");
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  Options options{
      .runtime_port = std::atoi(argv[1]), .target_port = std::atoi(argv[2]), .mode = argv[3], .key = argv[4]};
  for (int i = 5; i < argc; ++i) options.numbers.push_back(std::atof(argv[i]));
  try {
    const auto bench = std::make_unique<Bench>(std::move(options));
    bench->run();
    return 0;
  } catch (const std::exception& error) {
    fmt::print(stderr, "proxy_load: {}\n", error.what());
    return 1;
  }
}
