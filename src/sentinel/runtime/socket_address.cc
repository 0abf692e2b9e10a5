#include "sentinel/runtime/socket_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <cstring>

namespace tb::sentinel::runtime {

bool resolve(const RuntimeAddress& address, SocketAddress& out) {
  if (address.is_unix()) {
    sockaddr_un unix_address{};
    unix_address.sun_family = AF_UNIX;
    if (address.unix_path.size() >= sizeof unix_address.sun_path) return false;
    std::memcpy(unix_address.sun_path, address.unix_path.data(), address.unix_path.size());
    std::memcpy(&out.storage, &unix_address, sizeof unix_address);
    out.bytes = sizeof unix_address;
    return true;
  }
  sockaddr_in v4{};
  if (inet_pton(AF_INET, address.host.c_str(), &v4.sin_addr) == 1) {
    v4.sin_family = AF_INET;
    v4.sin_port = htons(address.port);
    std::memcpy(&out.storage, &v4, sizeof v4);
    out.bytes = sizeof v4;
    return true;
  }
  sockaddr_in6 v6{};
  if (inet_pton(AF_INET6, address.host.c_str(), &v6.sin6_addr) != 1) return false;
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(address.port);
  std::memcpy(&out.storage, &v6, sizeof v6);
  out.bytes = sizeof v6;
  return true;
}

}  // namespace tb::sentinel::runtime
