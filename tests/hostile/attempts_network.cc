// Ways out by sockets.
#include <arpa/inet.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/ip_icmp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "tests/hostile/attempts.h"

namespace hostile {
namespace {

int reach(int family, int type, const std::string& host, int port) {
  const int fd = socket(family, type, 0);
  if (fd < 0) return errno;
  sockaddr_in v4{};
  sockaddr_in6 v6{};
  v4.sin_family = AF_INET;
  v6.sin6_family = AF_INET6;
  v4.sin_port = v6.sin6_port = htons(static_cast<std::uint16_t>(port));
  if (family == AF_INET ? inet_pton(AF_INET, host.c_str(), &v4.sin_addr) != 1
                        : inet_pton(AF_INET6, host.c_str(), &v6.sin6_addr) != 1) {
    return EINVAL;
  }
  const auto* address =
      family == AF_INET ? reinterpret_cast<const sockaddr*>(&v4) : reinterpret_cast<const sockaddr*>(&v6);
  const socklen_t bytes = family == AF_INET ? sizeof v4 : sizeof v6;
  if (type == SOCK_STREAM) return outcome(connect(fd, address, bytes));
  return outcome(sendto(fd, "weights", 7, 0, address, bytes));
}

int reach_unix(const std::string& name, bool abstract) {
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (fd < 0) return errno;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::size_t at = abstract ? 1 : 0;
  std::memcpy(address.sun_path + at, name.data(), name.size());
  const auto bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + at + name.size() + (abstract ? 0 : 1));
  return outcome(connect(fd, reinterpret_cast<const sockaddr*>(&address), bytes));
}

/// Changes nothing, but needs the right to change links.
int change_link() {
  const int fd = socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
  if (fd < 0) return errno;
  struct {
    nlmsghdr head{};
    ifinfomsg info{};
  } request;
  request.head.nlmsg_len = sizeof request;
  request.head.nlmsg_type = RTM_SETLINK;
  request.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
  request.info.ifi_index = static_cast<int>(if_nametoindex("lo"));
  if (send(fd, &request, sizeof request, 0) < 0) return errno;
  struct {
    nlmsghdr head{};
    nlmsgerr error{};
    char rest[512];
  } answer;
  if (recv(fd, &answer, sizeof answer, 0) < 0) return errno;
  return -answer.error.error;
}

int ask_name() {
  addrinfo* found = nullptr;
  const int error = getaddrinfo("example.com", "443", nullptr, &found);
  return error == 0 ? 0 : error == EAI_SYSTEM ? errno : EHOSTUNREACH;
}

}  // namespace

std::vector<Named> network_attempts(const World& world) {
  const std::string host = told(world, "host_ip");
  const int tcp = number(world, "tcp_port");
  const int tcp6 = number(world, "tcp6_port");
  const int udp = number(world, "udp_port");
  const std::string abstract = told(world, "abstract_name");
  const std::string path = told(world, "unix_path");
  return {
      {"tcp4_host", [=] { return reach(AF_INET, SOCK_STREAM, host, tcp); }},
      {"tcp4_loopback", [=] { return reach(AF_INET, SOCK_STREAM, "127.0.0.1", tcp); }},
      {"tcp6_loopback", [=] { return reach(AF_INET6, SOCK_STREAM, "::1", tcp6); }},
      {"tcp4_mapped", [=] { return reach(AF_INET6, SOCK_STREAM, "::ffff:" + host, tcp); }},
      {"tcp4_internet", [] { return reach(AF_INET, SOCK_STREAM, "192.0.2.1", 443); }},
      {"tcp6_internet", [] { return reach(AF_INET6, SOCK_STREAM, "2001:db8::1", 443); }},
      {"udp4_host", [=] { return reach(AF_INET, SOCK_DGRAM, host, udp); }},
      {"dns_server", [=] { return reach(AF_INET, SOCK_DGRAM, host, 53); }},
      {"dns_name", ask_name},
      {"icmp_ping", [] { return outcome(socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP)); }},
      {"icmp_raw", [] { return outcome(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP)); }},
      {"packet_socket", [] { return outcome(socket(AF_PACKET, SOCK_RAW, 0)); }},
      {"vsock", [] { return outcome(socket(AF_VSOCK, SOCK_STREAM, 0)); }},
      {"crypto_socket", [] { return outcome(socket(AF_ALG, SOCK_SEQPACKET, 0)); }},
      {"uevent_netlink", [] { return outcome(socket(AF_NETLINK, SOCK_RAW, NETLINK_KOBJECT_UEVENT)); }},
      {"change_link", change_link},
      {"abstract_socket", [=] { return reach_unix(abstract, true); }},
      {"unix_socket", [=] { return reach_unix(path, false); }},
  };
}

}  // namespace hostile
