// Signed statements of the control plane: compact JWS (RFC 7515) with EdDSA (RFC 8037), one algorithm only.
#pragma once

#include <string>
#include <string_view>

#include "base/crypto.h"
#include "base/json.h"

namespace tb::jose {

inline constexpr std::size_t kMaxJwsBytes = std::size_t{1} << 20;

/// Header {"alg":"EdDSA","kid":key id,"typ":typ}; the key id is the base64url SHA-256 of the raw public key.
std::string sign(const Ed25519PrivateKey& key, std::string_view typ, std::string_view payload);

/// The payload, once verified. Throws "jws_refused": another alg or typ, `crit`, bad signature, not three parts.
std::string verify(const Ed25519PublicKey& key, std::string_view typ, std::string_view compact);

}  // namespace tb::jose
