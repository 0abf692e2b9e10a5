// HMAC-SHA256 (RFC 2104) of a message that comes piece by piece: bodies that are hashed while they pass.
#pragma once

#include "base/crypto.h"
#include "base/secret.h"

namespace tb {

class HmacSha256 {
 public:
  /// Any key length; the key is not kept.
  explicit HmacSha256(ByteView key);
  void update(ByteView bytes) { inner_.update(bytes); }
  /// The MAC of everything so far. The object must not be used again.
  Digest finish();

 private:
  Sha256 inner_;
  Secret<64> outer_pad_;
};

}  // namespace tb
