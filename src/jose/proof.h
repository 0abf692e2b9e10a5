// Proof of possession of a sentinel's key, made for one HTTP request: DPoP (RFC 9449) with ES256 and nothing else.
//
// A token that was copied is of no use without the key that signs these. The reader tells what it expects of the
// request that it sees; whether a `jti` was seen before is the store's business.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "jose/p256.h"

namespace tb::jose {

/// Longest proof that is read.
inline constexpr std::size_t kMaxProofBytes = 2048;
/// How far `iat` may lie from the reader's clock, to either side.
inline constexpr std::int64_t kProofWindowSeconds = 60;

struct ProofClaims {
  std::string method;                  ///< htm
  std::string url;                     ///< htu: without query and fragment, which are cut off here
  std::int64_t issued_at_seconds = 0;  ///< iat
  std::string jti;                     ///< 16 to 64 characters of base64url
  std::string token;                   ///< the bearer token sent along, for ath; empty: none
};

/// Compact JWS: header {"alg":"ES256","jwk":…,"typ":"dpop+jwt"}.
std::string sign_proof(const PrivateKey& key, const ProofClaims& claims);

/// What the request is that a proof came with.
struct ProofExpectation {
  std::string_view method;
  std::string_view url;  ///< as clients are to write it, without a query
  std::int64_t now_seconds = 0;
  std::string_view bearer_token;  ///< empty: none came, and no ath may stand in the proof
};

struct Proof {
  PublicKey key;
  std::string jti;
  std::int64_t issued_at_seconds = 0;
};

/// Strict. Throws "proof_refused" (the message names what was wrong): size, parts, JSON, alg, typ, crit, a key that is
/// not a public P-256 point, signature, htm, htu, ath, jti; "proof_stale" if all of that holds and iat is too far away.
Proof verify_proof(std::string_view compact, const ProofExpectation& expected);

/// The URL as two spellings of it compare (RFC 9449 4.3, RFC 3986 6.2): scheme and host in lower case, without the
/// scheme's own port, query and fragment; the names of loopback are one.
std::string comparable_url(std::string_view url);

}  // namespace tb::jose
