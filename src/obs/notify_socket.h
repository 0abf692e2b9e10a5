// What systemd is told of this process (sd_notify(3), Type=notify): by hand, since it is one datagram.
#pragma once

#include <string>
#include <string_view>

namespace tb::controlplane {

/// Sends `state` ("READY=1", "STOPPING=1") to the socket that NOTIFY_SOCKET names: a path, or an abstract name behind
/// "@". False where there is none to tell or it cannot be told; that is no reason not to serve.
bool notify_systemd(const std::string& notify_socket, std::string_view state);

}  // namespace tb::controlplane
