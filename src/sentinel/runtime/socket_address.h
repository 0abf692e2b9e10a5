// A runtime's address as the socket calls take it.
#pragma once

#include <sys/socket.h>

#include "sentinel/config.h"

namespace tb::sentinel::runtime {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t bytes = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
};

/// False for a host that is no IP address and for a path that is too long.
bool resolve(const RuntimeAddress& address, SocketAddress& out);

}  // namespace tb::sentinel::runtime
