// spec: RFC 7517, RFC 7638
#include "jose/p256.h"

#include <gtest/gtest.h>

namespace tb::jose {
namespace {

std::string refusal(const std::string& text) {
  try {
    PublicKey::from_jwk(value_or_throw(Json::parse(text)));
  } catch (const Error& error) {
    return error.reason + ": " + error.message;
  }
  return "accepted";
}

constexpr const char* kX = "972asm_NVoqDRFTpe-MkI1fV3HaeYo7PMPs3D2SgY40";
constexpr const char* kY = "xIcdpNx_U4tTZ8A_bU9YL241VSbSuLmUJxq4GgM-5-o";

std::string jwk(const std::string& kty, const std::string& crv, const std::string& x, const std::string& y,
                const std::string& more = "") {
  return R"({"kty":")" + kty + R"(","crv":")" + crv + R"(","x":")" + x + R"(","y":")" + y + '"' + more + '}';
}

// The values were computed by python3-cryptography. spec: RFC 7638 3
TEST(P256, ThumbprintIsThatOfAnIndependentImplementation) {
  const auto key = PublicKey::from_jwk(value_or_throw(Json::parse(jwk("EC", "P-256", kX, kY, R"(,"use":"enc")"))));
  EXPECT_EQ(key.thumbprint(), "-GfTu_SYpDGmeEK55aX_rdNIA1AQ-VU-uyISFPYZNUA");
}

TEST(P256, GeneratedKeysSurviveTheirParts) {
  const PrivateKey key = PrivateKey::generate();
  const PublicKey again = PublicKey::from_jwk(key.public_key().to_jwk());
  EXPECT_EQ(again, key.public_key());
  const PrivateKey rebuilt = PrivateKey::from_scalar(again, key.scalar().clone());
  EXPECT_EQ(rebuilt.public_key().thumbprint(), key.public_key().thumbprint());
}

TEST(P256, ForeignScalarIsRefused) {
  const PrivateKey key = PrivateKey::generate();
  const PrivateKey other = PrivateKey::generate();
  EXPECT_THROW(PrivateKey::from_scalar(key.public_key(), other.scalar().clone()), Error);
  EXPECT_THROW(PrivateKey::from_scalar(key.public_key(), Secret<32>()), Error);
}

TEST(P256, RefusesWhatIsNoPublicKeyOnTheCurve) {
  EXPECT_THAT(refusal(jwk("RSA", "P-256", kX, kY)), testing::HasSubstr("kty"));
  EXPECT_THAT(refusal(jwk("EC", "P-384", kX, kY)), testing::HasSubstr("crv"));
  EXPECT_THAT(refusal(jwk("EC", "P-256", kX, kY, R"(,"d":"AAAA")")), testing::HasSubstr("private key"));
  EXPECT_THAT(refusal(jwk("EC", "P-256", kY, kX)), testing::HasSubstr("not on P-256"));
  EXPECT_THAT(refusal(jwk("EC", "P-256", std::string(43, 'A'), std::string(43, 'A'))), testing::HasSubstr("P-256"));
  EXPECT_THAT(refusal(jwk("EC", "P-256", "AAAA", kY)), testing::HasSubstr("32 bytes"));
  EXPECT_THAT(refusal(jwk("EC", "P-256", std::string(kX) + "=", kY)), testing::HasSubstr("32 bytes"));
  EXPECT_THAT(refusal(R"({"kty":"EC","crv":"P-256","y":"AAAA"})"), testing::HasSubstr("lacks x"));
  EXPECT_THAT(refusal(R"(["EC"])"), testing::HasSubstr("object"));
}

}  // namespace
}  // namespace tb::jose
