// Signed, expiring URLs of the embedded store (docs/spec/wire.md 1.5): the query says which key, which lease and until
// when; its HMAC covers also what the path and the asset's row say.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/secret.h"

namespace tb::controlplane {

/// What a URL lets its holder read.
struct BlobClaim {
  std::string tenant;
  std::string asset_id;
  std::string name;           ///< `model.tbenc` or `model.manifest.json`
  std::string object_digest;  ///< of the registered object: a URL dies with the object it was made for
  std::string lease_id;
  std::int64_t expires_at_seconds = 0;  ///< Unix time
};

/// `kid=…&lease=…&exp=…&sig=…`.
struct SignedQuery {
  std::string kid;
  std::string lease_id;
  std::int64_t expires_at_seconds = 0;
  std::string signature;  ///< base64url of 32 bytes
};

/// "/blobs/<tenant>/<asset_id>/<name>?<query>".
std::string signed_path(const Secret<32>& key, std::string_view kid, const BlobClaim& claim);

/// Strict: exactly the four parameters, in this order, each in its one form: no other spelling of a URL verifies.
std::optional<SignedQuery> parse_signed_query(std::string_view raw_query);

/// Constant time in the signature.
bool signature_fits(const Secret<32>& key, std::string_view kid, const BlobClaim& claim, const SignedQuery& query);

}  // namespace tb::controlplane
