// What the control plane signs about one answer (docs/spec/wire.md 1.1, `grant`): a lease, its terms, and the request
// that it answers. A sentinel that pins the control plane's identity key believes this and nothing beside it; that it
// names the request's own proof keeps an older answer from being played again.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "api/authorize.h"

namespace tb::api {

inline constexpr std::string_view kGrantType = "trustbridge-grant+jws";

struct LeaseGrant {
  std::string contract_id, asset_id, lease_id;
  ReleasePolicy policy;
  std::int64_t policy_version = 0;
  std::string manifest_sha256;  ///< lower hex; empty: none was registered
  std::vector<std::string> url_origins;
  std::string key_thumbprint;  ///< RFC 7638, of the request's key_release_jwk; empty: none came
  std::string nonce;           ///< of the request; empty: none came
  std::string proof_jti;       ///< of the request's proof; empty: none came
  UnixMs issued_at = 0;
  UnixMs expires_at = 0;  ///< of the lease
  std::int64_t offline_grace_seconds = 0;

  Json to_json() const;
  /// Throws "grant_refused" naming the field.
  static LeaseGrant parse(std::string_view text);
};

/// Scheme, host and port of an absolute http or https URL, in lower case and without the scheme's own port; empty if it
/// is none, or carries userinfo.
std::string origin_of(std::string_view url);

}  // namespace tb::api
