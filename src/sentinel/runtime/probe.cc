#include "sentinel/runtime/probe.h"

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "async/stop.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fs.h"
#include "sentinel/proxy/chunked.h"
#include "sentinel/proxy/head.h"
#include "sentinel/runtime/socket_address.h"

namespace tb::sentinel::runtime {
namespace {

bool wait_for(int fd, short events, std::int64_t deadline) {
  const std::int64_t left = deadline - boot_ms_now();
  pollfd wait{fd, events, 0};
  return left > 0 && poll(&wait, 1, static_cast<int>(left)) == 1;
}

Fd open_connection(const RuntimeAddress& address) {
  SocketAddress target;
  if (!resolve(address, target)) return Fd();
  Fd fd(socket(target.storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (fd && connect(fd.get(), target.get(), target.bytes) != 0 && errno != EINPROGRESS) fd.reset();
  return fd;
}

/// The connection on which the question was sent; invalid if it could not be.
Fd send_get(const Channel& channel, const std::string& path, std::int64_t deadline) {
  Fd fd = channel.connector ? channel.connector->connect_within(deadline - boot_ms_now())
                            : open_connection(channel.address);
  if (!fd || !wait_for(fd.get(), POLLOUT, deadline)) return {};
  const std::string key = channel.key ? "Authorization: Bearer " + channel.key->reveal() + "\r\n" : std::string();
  const std::string request = "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n" + key + "Connection: close\r\n\r\n";
  if (send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(request.size())) return {};
  return fd;
}

/// The body of a whole answer whose connection has ended.
std::optional<std::string> body_of(const proxy::ResponseHead& head, std::string_view rest) {
  if (head.framing == proxy::Framing::kUntilClose) return std::string(rest);
  if (head.framing == proxy::Framing::kLength) {
    if (rest.size() < head.length) return std::nullopt;
    return std::string(rest.substr(0, head.length));
  }
  std::string out;
  proxy::ChunkedDecoder decoder;
  while (head.framing == proxy::Framing::kChunked) {
    const auto step = decoder.next(rest);
    if (step.kind == proxy::ChunkedDecoder::Kind::kEnd) break;
    if (step.kind != proxy::ChunkedDecoder::Kind::kData) return std::nullopt;
    out += step.data;
    rest.remove_prefix(step.consumed);
  }
  return out;
}

}  // namespace

std::optional<RuntimeAnswer> ask_runtime(const Channel& channel, const std::string& path, std::int64_t timeout_ms,
                                         std::size_t most_bytes) {
  const std::int64_t deadline = boot_ms_now() + timeout_ms;
  const Fd fd = send_get(channel, path, deadline);
  if (!fd) return std::nullopt;
  std::string answer;
  while (true) {
    if (answer.size() > most_bytes || !wait_for(fd.get(), POLLIN, deadline)) return std::nullopt;
    char buffer[16384];
    const ssize_t got = recv(fd.get(), buffer, sizeof buffer, 0);
    if (got < 0) return std::nullopt;
    if (got == 0) break;
    answer.append(buffer, static_cast<std::size_t>(got));
  }
  const proxy::HeadEnd end = proxy::find_head_end(answer);
  if (end.kind != proxy::HeadEnd::kFound) return std::nullopt;
  const std::string_view text = answer;
  const auto head = proxy::parse_response_head(text.substr(0, end.bytes), "GET");
  auto body = head ? body_of(*head, text.substr(end.bytes)) : std::nullopt;
  if (!body) return std::nullopt;
  return RuntimeAnswer{head->status, std::move(*body)};
}

int ask_health(const Channel& channel, const std::string& path, std::int64_t timeout_ms) {
  const std::int64_t deadline = boot_ms_now() + timeout_ms;
  const Fd fd = send_get(channel, path, deadline);
  if (!fd) return 0;
  std::string answer;
  while (answer.size() < proxy::kMaxHeadBytes && wait_for(fd.get(), POLLIN, deadline)) {
    char buffer[4096];
    const ssize_t got = recv(fd.get(), buffer, sizeof buffer, 0);
    if (got <= 0) return 0;
    answer.append(buffer, static_cast<std::size_t>(got));
    const proxy::HeadEnd end = proxy::find_head_end(answer);
    if (end.kind == proxy::HeadEnd::kNeedMore) continue;
    if (end.kind != proxy::HeadEnd::kFound) return 0;
    const auto head = proxy::parse_response_head(std::string_view(answer).substr(0, end.bytes), "GET");
    return head ? head->status : 0;
  }
  return 0;
}

std::uint16_t free_loopback_port() {
  const Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t bytes = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (!fd || bind(fd.get(), generic, bytes) != 0 || getsockname(fd.get(), generic, &bytes) != 0) {
    throw Error("address_unavailable", "there is no free loopback port");
  }
  return ntohs(address.sin_port);
}

Probe::Probe(RuntimeAddress address, std::string path, std::shared_ptr<Connector> connector, ProbeOptions options)
    : address_(std::move(address)),
      path_(std::move(path)),
      connector_(std::move(connector)),
      options_(options),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

Probe::~Probe() = default;

void Probe::run(const std::stop_token& stop) {
  int failures = 0;
  while (!stop.stop_requested()) {
    if (ask_health({address_, connector_}, path_, options_.timeout_ms) == 200) {
      failures = 0;
      healthy_ = true;
    } else if (++failures >= options_.failures_to_lose) {
      healthy_ = false;
    }
    const std::int64_t wait_ms = healthy_ && failures == 0 ? options_.steady_ms : options_.waiting_ms;
    async::sleep_unless_stopped(stop, std::chrono::milliseconds(wait_ms));
  }
}

}  // namespace tb::sentinel::runtime
