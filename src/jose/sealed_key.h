// A file key sealed to a P-256 key: compact JWE (RFC 7516), alg ECDH-ES+A256KW, enc A256GCM, and no other.
//
// The protected header says what the key is for (asset, contract, lease …). The reader passes what it expects and gets
// the key only if every expected member stands there with exactly that value: a JWE for another purpose is refused.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/secret.h"
#include "jose/p256.h"

namespace tb::jose {

/// Longest compact JWE that open_key reads.
inline constexpr std::size_t kMaxJweBytes = 8192;

/// Seals `key` to `recipient`. `members` join the protected header; alg, enc, epk and `kid` (the recipient's
/// thumbprint) are added here and must not be among them. Throws "internal" if the library fails.
std::string seal_key(const PublicKey& recipient, const Json::Object& members, const FileKey& key);

/// Opens what seal_key made. Refuses ("jwe_refused", the message names what was wrong): not five parts, a header that
/// is not strict JSON, another alg or enc, `zip`, `crit`, a `kid` that is not the key's thumbprint, a member of
/// `expected` that is missing or different, a tag that does not verify, a plaintext that is not 32 bytes.
FileKey open_key(const PrivateKey& key, std::string_view compact, const Json::Object& expected);

/// The protected header of a compact JWE, nothing verified: to find which key and purpose it names. Throws
/// "jwe_refused".
Json peek_header(std::string_view compact);

}  // namespace tb::jose
