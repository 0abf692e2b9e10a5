#include "base/hmac.h"

#include <algorithm>

namespace tb {

HmacSha256::HmacSha256(ByteView key) {
  Secret<64> inner_pad;
  const auto block = inner_pad.reveal_mutable();
  if (key.size() > block.size()) {
    const Digest digest = sha256(key);
    std::ranges::copy(digest, block.begin());
  } else {
    std::ranges::copy(key, block.begin());
  }
  std::ranges::transform(block, outer_pad_.reveal_mutable().begin(), [](std::uint8_t b) { return b ^ 0x5c; });
  std::ranges::transform(block, block.begin(), [](std::uint8_t b) { return b ^ 0x36; });
  inner_.update(inner_pad.reveal());
}

Digest HmacSha256::finish() {
  const Digest inner = inner_.finish();
  Sha256 outer;
  outer.update(outer_pad_.reveal());
  outer.update(inner);
  return outer.finish();
}

}  // namespace tb
