#include "http/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <array>
#include <cstring>
#include <optional>

#include "base/bytes.h"
#include "http/message.h"

namespace tb::http {

namespace {

using Ip6 = std::array<std::uint8_t, 16>;

struct Net4 {
  std::uint32_t base;
  int bits;
  AddressKind kind;
};

// IANA's special-purpose registry, first match wins; the single addresses are those of cloud metadata services.
constexpr Net4 kNets4[] = {
    {0xa83f8110, 32, AddressKind::kLinkLocal},  // 168.63.129.16, Azure's host agent
    {0x64646464, 32, AddressKind::kLinkLocal},  // 100.100.100.100, resolver of Alibaba and Tailscale
    {0x646464c8, 32, AddressKind::kLinkLocal},  // 100.100.100.200, Alibaba's metadata
    {0x7f000000, 8, AddressKind::kLoopback},    // 127.0.0.0/8
    {0xa9fe0000, 16, AddressKind::kLinkLocal},  // 169.254.0.0/16
    {0x0a000000, 8, AddressKind::kPrivate},     // 10.0.0.0/8
    {0xac100000, 12, AddressKind::kPrivate},    // 172.16.0.0/12
    {0xc0a80000, 16, AddressKind::kPrivate},    // 192.168.0.0/16
    {0x64400000, 10, AddressKind::kPrivate},    // 100.64.0.0/10, carrier-grade NAT
    {0xc6120000, 15, AddressKind::kPrivate},    // 198.18.0.0/15, benchmarking
    {0x00000000, 8, AddressKind::kUnusable},    // 0.0.0.0/8
    {0xc0000000, 24, AddressKind::kUnusable},   // 192.0.0.0/24
    {0xc0000200, 24, AddressKind::kUnusable},   // 192.0.2.0/24, documentation
    {0xc6336400, 24, AddressKind::kUnusable},   // 198.51.100.0/24
    {0xcb007100, 24, AddressKind::kUnusable},   // 203.0.113.0/24
    {0xe0000000, 3, AddressKind::kUnusable},    // multicast, reserved, broadcast
};

AddressKind kind4(std::uint32_t ip) {
  for (const Net4& net : kNets4) {
    const std::uint32_t mask = ~std::uint32_t{0} << (32 - net.bits);
    if ((ip & mask) == net.base) return net.kind;
  }
  return AddressKind::kPublic;
}

bool has_prefix(const Ip6& ip, std::initializer_list<std::uint8_t> prefix) {
  return std::equal(prefix.begin(), prefix.end(), ip.begin());
}

AddressKind kind6(const Ip6& ip) {
  constexpr Ip6 kMetadata{0xfd, 0, 0x0e, 0xc2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x54};
  Ip6 loopback{};
  loopback[15] = 1;
  if (ip == loopback) return AddressKind::kLoopback;
  if (ip == kMetadata) return AddressKind::kLinkLocal;
  // What carries an IPv4 address reaches that address.
  if (has_prefix(ip, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}) ||
      has_prefix(ip, {0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0})) {
    return kind4(load_be32(ip.data() + 12));
  }
  if (has_prefix(ip, {0x20, 0x02})) return kind4(load_be32(ip.data() + 2));
  if (ip[0] == 0xfe && (ip[1] & 0xc0) == 0x80) return AddressKind::kLinkLocal;  // fe80::/10
  if ((ip[0] & 0xfe) == 0xfc) return AddressKind::kPrivate;                     // fc00::/7
  if (ip[0] == 0xfe && (ip[1] & 0xc0) == 0xc0) return AddressKind::kPrivate;    // fec0::/10, old site-local
  if (has_prefix(ip, {0x20, 0x01, 0x0d, 0xb8}) || has_prefix(ip, {0x20, 0x01, 0, 0})) return AddressKind::kUnusable;
  // Only 2000::/3 is given out as global unicast.
  return (ip[0] & 0xe0) == 0x20 ? AddressKind::kPublic : AddressKind::kUnusable;
}

std::optional<AddressKind> literal_kind(std::string_view literal) {
  const std::string text(literal);
  in_addr four{};
  if (inet_pton(AF_INET, text.c_str(), &four) == 1) return kind4(ntohl(four.s_addr));
  Ip6 six{};
  if (inet_pton(AF_INET6, text.c_str(), six.data()) == 1) return kind6(six);
  return std::nullopt;
}

}  // namespace

AddressKind address_kind(const sockaddr* address) {
  if (address->sa_family == AF_INET) {
    sockaddr_in in{};
    std::memcpy(&in, address, sizeof in);
    return kind4(ntohl(in.sin_addr.s_addr));
  }
  if (address->sa_family == AF_INET6) {
    sockaddr_in6 in{};
    std::memcpy(&in, address, sizeof in);
    Ip6 ip{};
    std::memcpy(ip.data(), &in.sin6_addr, ip.size());
    return kind6(ip);
  }
  return AddressKind::kUnusable;
}

AddressKind address_kind(std::string_view literal) {
  return literal_kind(literal).value_or(AddressKind::kUnusable);
}

bool is_address_literal(std::string_view host) {
  return literal_kind(host).has_value();
}

bool is_loopback_host(std::string_view host) {
  return equal_ignoring_case(host, "localhost") || literal_kind(host) == AddressKind::kLoopback;
}

bool AddressPolicy::allows(AddressKind kind) const {
  switch (kind) {
    case AddressKind::kPublic:
      return true;
    case AddressKind::kPrivate:
      return private_networks;
    case AddressKind::kLoopback:
      return loopback;
    case AddressKind::kLinkLocal:
      return link_local;
    case AddressKind::kUnusable:
      return false;
  }
  return false;
}

}  // namespace tb::http
