// HMAC-SHA256 (RFC 2104) of a message that comes piece by piece: bodies that are hashed while they pass. Many
// messages under one key share the work that depends on the key alone.
#pragma once

#include "base/crypto.h"

namespace tb {

/// Both pads of a key, hashed. Copying is cheap; threads may share a const one.
class HmacKey {
 public:
  /// Any key length; the key itself is not kept.
  explicit HmacKey(ByteView key);
  /// The MAC of one message.
  Digest mac(ByteView message) const;
  /// SHA-256's eight words (FIPS 180-4, 6.2) after the pad: all that the key adds to a MAC.
  std::array<std::uint32_t, 8> inner_chaining_value() const { return inner_.chaining_value(); }
  std::array<std::uint32_t, 8> outer_chaining_value() const { return outer_.chaining_value(); }

 private:
  friend class HmacSha256;
  Sha256 inner_, outer_;
};

class HmacSha256 {
 public:
  explicit HmacSha256(const HmacKey& key) : inner_(key.inner_), outer_(key.outer_) {}
  explicit HmacSha256(ByteView key) : HmacSha256(HmacKey(key)) {}
  void update(ByteView bytes) { inner_.update(bytes); }
  /// The MAC of everything so far. The object must not be used again.
  Digest finish();

 private:
  Sha256 inner_, outer_;
};

}  // namespace tb
