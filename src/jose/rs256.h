// Tokens of others: compact JWS (RFC 7515) taken apart, and RS256 (RFC 7518 3.3) under RSA keys of a JWK set that was
// pinned. Nothing in a token says which key may have signed it: `jku`, `x5u`, `jwk` and `x5c` of a header are never
// read.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/json.h"

namespace tb::jose {

/// Longest token that is read.
inline constexpr std::size_t kMaxTokenBytes = 32768;
inline constexpr std::size_t kMaxKeySetBytes = 262144;

/// A token taken apart, nothing verified.
struct CompactToken {
  Json header;          ///< strict JSON object
  std::string payload;  ///< as it was signed
  std::string signing_input;
  Bytes signature;
};
/// Throws "jws_refused": too long, not three parts, parts that are not strict base64url, a header that is not a strict
/// JSON object.
CompactToken parse_compact(std::string_view compact);

/// An RSA public key of 2048 to 8192 bits.
class RsaPublicKey {
 public:
  /// `kty` RSA with `n` and `e`; where only `x5c` is given, the key of its first certificate, and where both are, they
  /// must agree. A private member, `use` other than sig and `alg` other than RS256 are refused. Throws "jwk_refused".
  static RsaPublicKey from_jwk(const Json& jwk);
  /// Big-endian; throws "jwk_refused" for sizes outside the bounds and exponents that are even or under 3.
  static RsaPublicKey from_numbers(ByteView n, ByteView e);

  const Bytes& modulus() const { return n_; }
  const Bytes& exponent() const { return e_; }
  /// RSASSA-PKCS1-v1_5 with SHA-256.
  bool verifies(ByteView message, ByteView signature) const;
  bool operator==(const RsaPublicKey&) const = default;

 private:
  Bytes n_, e_;  ///< without leading zeros
};

/// The keys of a JWK set by `kid`. Keys of other kinds and uses are passed over; one that is broken, and a `kid` that
/// stands there twice, refuse the set.
class RsaKeySet {
 public:
  /// Throws "jwk_refused"; also where no usable key is left.
  static RsaKeySet parse(std::string_view text);
  const RsaPublicKey* find(std::string_view kid) const;

 private:
  std::map<std::string, RsaPublicKey, std::less<>> keys_;
};

}  // namespace tb::jose
