#include "base/hmac.h"

#include <algorithm>

#include "base/secret.h"

namespace tb {

HmacKey::HmacKey(ByteView key) {
  Secret<64> pad;
  const auto block = pad.reveal_mutable();
  if (key.size() > block.size()) {
    const Digest digest = sha256(key);
    std::ranges::copy(digest, block.begin());
  } else {
    std::ranges::copy(key, block.begin());
  }
  std::ranges::transform(block, block.begin(), [](std::uint8_t b) { return b ^ 0x36; });
  inner_.update(pad.reveal());
  std::ranges::transform(block, block.begin(), [](std::uint8_t b) { return b ^ 0x36 ^ 0x5c; });
  outer_.update(pad.reveal());
}

Digest HmacKey::mac(ByteView message) const {
  HmacSha256 mac(*this);
  mac.update(message);
  return mac.finish();
}

Digest HmacSha256::finish() {
  outer_.update(inner_.finish());
  return outer_.finish();
}

}  // namespace tb
