// spec: RFC 7515, RFC 8037
#include "jose/statement.h"

#include <gtest/gtest.h>

namespace tb::jose {
namespace {

std::string verified(const Ed25519PublicKey& key, std::string_view typ, std::string_view text) {
  try {
    return verify(key, typ, text);
  } catch (const Error& error) {
    EXPECT_EQ(error.reason, "jws_refused");
    return "refused: " + error.message;
  }
}

std::string raw_statement(const Ed25519PrivateKey& key, const std::string& header, const std::string& payload) {
  const std::string text = to_base64url(as_bytes(header)) + "." + to_base64url(as_bytes(payload));
  return text + "." + to_base64url(key.sign(as_bytes(text)));
}

TEST(Statement, VerifiesUnderItsKeyAndTypeOnly) {
  const auto key = Ed25519PrivateKey::generate();
  const auto other = Ed25519PrivateKey::generate();
  const std::string text = sign(key, "jwk-set+jws", R"({"keys":[]})");
  EXPECT_EQ(verified(key.public_key(), "jwk-set+jws", text), R"({"keys":[]})");
  EXPECT_THAT(verified(key.public_key(), "grant+jws", text), testing::HasSubstr("typ"));
  EXPECT_THAT(verified(other.public_key(), "jwk-set+jws", text), testing::HasSubstr("pinned key"));
}

TEST(Statement, RefusesOtherHeadersEvenWhenSigned) {
  const auto key = Ed25519PrivateKey::generate();
  const auto check = [&](const std::string& header) {
    return verified(key.public_key(), "t", raw_statement(key, header, "x"));
  };
  EXPECT_EQ(check(R"({"alg":"EdDSA","typ":"t"})"), "x");
  EXPECT_THAT(check(R"({"alg":"none","typ":"t"})"), testing::HasSubstr("alg"));
  EXPECT_THAT(check(R"({"alg":"EdDSA","typ":"t","crit":["b64"]})"), testing::HasSubstr("crit"));
  EXPECT_THAT(check(R"({"alg":"EdDSA","typ":"t","b64":false})"), testing::HasSubstr("b64"));
  EXPECT_THAT(check(R"({"alg":"EdDSA","alg":"EdDSA","typ":"t"})"), testing::HasSubstr("strict"));
}

TEST(Statement, RefusesBrokenForms) {
  const auto key = Ed25519PrivateKey::generate();
  std::string text = sign(key, "t", "payload");
  EXPECT_THAT(verified(key.public_key(), "t", "a.b"), testing::HasSubstr("three parts"));
  EXPECT_THAT(verified(key.public_key(), "t", text + ".AAAA"), testing::HasSubstr("three parts"));
  EXPECT_THAT(verified(key.public_key(), "t", text + "="), testing::HasSubstr("base64url"));
  text[text.find('.') + 1] ^= 1;
  EXPECT_THAT(verified(key.public_key(), "t", text), testing::HasSubstr("refused"));
}

}  // namespace
}  // namespace tb::jose
