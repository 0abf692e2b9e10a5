#include "base/hmac.h"

#include <gtest/gtest.h>

namespace tb {
namespace {

TEST(Hmac, Rfc4231Case2) {
  HmacSha256 mac(as_bytes("Jefe"));
  mac.update(as_bytes("what do ya want "));
  mac.update(as_bytes("for nothing?"));
  EXPECT_EQ(to_hex(mac.finish()), "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

TEST(Hmac, EqualsTheOneShotFormForEveryKeyLength) {
  for (const std::size_t bytes : {0U, 1U, 63U, 64U, 65U, 200U}) {
    const Bytes key(bytes, 0xaa);
    HmacSha256 mac(key);
    mac.update(as_bytes("message"));
    EXPECT_EQ(mac.finish(), hmac_sha256(key, as_bytes("message"))) << bytes;
  }
}

TEST(Hmac, OneKeyServesManyMessagesAndCopies) {
  const HmacKey key(as_bytes("Jefe"));
  const HmacKey copy = key;
  HmacSha256 interrupted(key);
  interrupted.update(as_bytes("what do ya want "));
  for (const HmacKey& each : {key, copy}) {
    EXPECT_EQ(to_hex(each.mac(as_bytes("what do ya want for nothing?"))),
              "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  }
  interrupted.update(as_bytes("for nothing?"));
  EXPECT_EQ(interrupted.finish(), key.mac(as_bytes("what do ya want for nothing?")));
}

}  // namespace
}  // namespace tb
