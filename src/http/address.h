// What kind of network address a peer has, and which kinds a client may connect to. Pure.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

struct sockaddr;

namespace tb::http {

enum class AddressKind { kPublic, kPrivate, kLoopback, kLinkLocal, kUnusable };

/// kLinkLocal holds cloud metadata addresses too (169.254.169.254, 168.63.129.16, 100.100.100.200, fd00:ec2::254);
/// kUnusable: unspecified, multicast, broadcast, reserved, documentation. IPv4 inside IPv6 (mapped, NAT64, 6to4) counts
/// as the IPv4 address.
AddressKind address_kind(const sockaddr* address);
/// The same of a literal without brackets; kUnusable if it is none.
AddressKind address_kind(std::string_view literal);
/// True for an address literal (without brackets).
bool is_address_literal(std::string_view host);
/// True for "localhost", 127.0.0.0/8 and ::1, without asking a resolver.
bool is_loopback_host(std::string_view host);

/// Which addresses a client may connect to, checked at connect(), after name resolution.
struct AddressPolicy {
  bool loopback = false;
  bool private_networks = false;
  bool link_local = false;
  bool insecure_http = false;  ///< http: to hosts that are not loopback

  /// For endpoints that the operator configured: every address.
  static AddressPolicy configured(bool insecure_http = false) { return {true, true, true, insecure_http}; }
  /// For URLs that came from the network (signed URLs): public ones; loopback only if the endpoint that sent them is
  /// loopback itself; private ones by flag.
  static AddressPolicy from_network(bool endpoint_is_loopback, bool allow_private, bool insecure_http = false) {
    return {endpoint_is_loopback, allow_private, false, insecure_http};
  }
  bool allows(AddressKind kind) const;
};

}  // namespace tb::http
