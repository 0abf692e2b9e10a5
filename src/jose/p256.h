// EC P-256 keys in the form of RFC 7517, for the two places where a key travels: an asset key to the control plane,
// and its release to a sentinel. Nothing else is a JWK here: other curves and key types are refused. (Not
// named jwk.h: that would hide libjose's own <jose/jwk.h>.)
#pragma once

#include <array>
#include <string>

#include "base/json.h"
#include "base/secret.h"

namespace tb::jose {

/// A point on P-256. Every object holds a point that was checked to be on the curve.
class PublicKey {
 public:
  /// Strict: `kty` EC, `crv` P-256, `x` and `y` of 32 bytes each, on the curve, no `d`. Other members are ignored.
  /// Throws "jwk_refused".
  static PublicKey from_jwk(const Json& jwk);
  /// Big-endian coordinates; throws "jwk_refused" if they are not on the curve.
  static PublicKey from_point(ByteView x, ByteView y);
  /// {"kty","crv","x","y"}.
  Json to_jwk() const;
  /// RFC 7638 with SHA-256, base64url: the `kid` of everything sealed to this key.
  std::string thumbprint() const;
  bool operator==(const PublicKey&) const = default;

 private:
  friend class PrivateKey;
  std::array<std::uint8_t, 32> x_{}, y_{};
};

/// A private key: move-only and wiped.
class PrivateKey {
 public:
  static PrivateKey generate();
  /// `scalar` is `d`, big-endian; throws "jwk_refused" if it does not belong to `public_key`.
  static PrivateKey from_scalar(const PublicKey& public_key, Secret<32> scalar);
  const PublicKey& public_key() const { return public_; }
  const Secret<32>& scalar() const { return scalar_; }

 private:
  PrivateKey(PublicKey public_key, Secret<32> scalar) : public_(public_key), scalar_(std::move(scalar)) {}
  PublicKey public_;
  Secret<32> scalar_;
};

}  // namespace tb::jose
