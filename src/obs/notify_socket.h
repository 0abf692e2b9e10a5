// What systemd, or another manager that speaks sd_notify(3), is told of this process: that it is ready, what it does,
// that its loops still turn. By hand, since it is one datagram to a socket that a variable names.
//
// Nothing here can fail the service: where nobody listens, nobody is told.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace tb::obs {

class NotifySocket {
 public:
  /// Nobody to tell.
  NotifySocket() = default;
  /// The values of NOTIFY_SOCKET (a path, or an abstract name behind "@"), WATCHDOG_USEC and WATCHDOG_PID; each may be
  /// empty. A watchdog that is meant for another process, or whose time is no number, is none.
  NotifySocket(std::string notify_socket, std::string_view watchdog_usec, std::string_view watchdog_pid);

  /// Sends `state`: lines of NAME=value as sd_notify(3) has them. False where it could not be told.
  bool tell(std::string_view state) const;
  bool listens() const { return !notify_socket_.empty(); }
  /// How long the manager waits for "WATCHDOG=1" before it ends this process; 0: it does not.
  std::int64_t watchdog_ms() const { return watchdog_ms_; }

 private:
  std::string notify_socket_;
  std::int64_t watchdog_ms_ = 0;
};

/// "STATUS=" and `text` on one line, of at most 200 bytes: what `systemctl status` shows.
std::string status_line(std::string_view text);

/// What a reload begins with: "RELOADING=1" and the time that it began by CLOCK_MONOTONIC, which is to be told with it.
std::string reloading_now();

}  // namespace tb::obs
