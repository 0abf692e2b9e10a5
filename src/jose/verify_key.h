// Keys that sign tokens for users: RS256 and PS256 (RFC 7518 3.3, 3.5), ES256 (3.4) and EdDSA (RFC 8037), as a JWK set
// of the issuer's gives them. The key says which algorithm may be used with it, never the token: `none` and HS* have no
// key here that they could be used with. `jku`, `x5u`, `jwk` and `x5c` of a token are never read.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "base/json.h"
#include "jose/rs256.h"

namespace tb::jose {

/// One public key, ready for use: verifying takes no allocation of the key any more. Shared freely between threads.
class VerifyKey {
 public:
  /// `kty` RSA (2048 to 4096 bits), EC on P-256, or OKP Ed25519. Refused with "jwk_refused": private members, numbers
  /// out of bounds, points that are not on the curve, `use`, `key_ops` or `alg` of another purpose.
  static VerifyKey from_jwk(const Json& jwk);
  /// `alg` is the token's: false also where this key is not for it.
  bool verifies(std::string_view alg, ByteView message, ByteView signature) const;
  bool is_for(std::string_view alg) const;

 private:
  enum class Kind { kRsa, kP256, kEd25519 };
  Kind kind_ = Kind::kRsa;
  std::string alg_;            ///< empty: any of its kind
  std::size_t rsa_bytes_ = 0;  ///< of a signature
  std::shared_ptr<void> key_;  ///< EVP_PKEY
};

/// The keys of a set by `kid`. Keys of other kinds and uses are passed over; one that is broken, and a `kid` that
/// stands there twice, refuse the set.
class VerifyKeySet {
 public:
  /// Throws "jwk_refused"; also where no usable key is left. At most 256 keys in kMaxKeySetBytes.
  static VerifyKeySet parse(std::string_view text);
  const VerifyKey* find(std::string_view kid) const;
  std::size_t size() const { return keys_.size(); }

 private:
  std::map<std::string, VerifyKey, std::less<>> keys_;
};

}  // namespace tb::jose
