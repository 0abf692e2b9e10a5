#include "controlplane/systemd_notify.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <cstring>

#include "base/fs.h"

namespace tb::controlplane {

bool notify_systemd(const std::string& notify_socket, std::string_view state) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const bool named = notify_socket.starts_with('/') || notify_socket.starts_with('@');
  if (!named || notify_socket.size() >= sizeof(address.sun_path)) return false;
  std::memcpy(address.sun_path, notify_socket.data(), notify_socket.size());
  if (address.sun_path[0] == '@') address.sun_path[0] = '\0';
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + notify_socket.size());
  const Fd socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (socket.get() < 0) return false;
  const ssize_t sent = sendto(socket.get(), state.data(), state.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
                              reinterpret_cast<const sockaddr*>(&address), length);
  return sent == static_cast<ssize_t>(state.size());
}

}  // namespace tb::controlplane
