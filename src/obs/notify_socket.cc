#include "obs/notify_socket.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstring>

#include "base/fs.h"

namespace tb::obs {
namespace {

constexpr std::size_t kStatusBytes = 200;

/// Of a whole text of digits; 0 for everything else.
std::int64_t number_of(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  return code == std::errc() && end == text.data() + text.size() && value > 0 ? value : 0;
}

}  // namespace

NotifySocket::NotifySocket(std::string notify_socket, std::string_view watchdog_usec, std::string_view watchdog_pid)
    : notify_socket_(std::move(notify_socket)) {
  if (!listens() || (!watchdog_pid.empty() && number_of(watchdog_pid) != getpid())) return;
  if (const std::int64_t usec = number_of(watchdog_usec); usec > 0)
    watchdog_ms_ = std::max<std::int64_t>(usec / 1000, 1);
}

bool NotifySocket::tell(std::string_view state) const {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const bool named = notify_socket_.starts_with('/') || notify_socket_.starts_with('@');
  if (!named || notify_socket_.size() >= sizeof(address.sun_path)) return false;
  std::memcpy(address.sun_path, notify_socket_.data(), notify_socket_.size());
  if (address.sun_path[0] == '@') address.sun_path[0] = '\0';
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + notify_socket_.size());
  const Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (socket.get() < 0) return false;
  const ssize_t sent = sendto(socket.get(), state.data(), state.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
                              reinterpret_cast<const sockaddr*>(&address), length);
  return sent == static_cast<ssize_t>(state.size());
}

std::string status_line(std::string_view text) {
  std::string out(text.substr(0, kStatusBytes));
  std::ranges::replace_if(out, [](unsigned char c) { return c < ' ' || c == 0x7f; }, ' ');
  return "STATUS=" + out;
}

std::string reloading_now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return fmt::format("RELOADING=1\nMONOTONIC_USEC={}", std::int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000);
}

}  // namespace tb::obs
