// spec: RFC 7515, RFC 7517, RFC 7518 3.3
#include "jose/rs256.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tb::jose {
namespace {

using testing::HasSubstr;

// RFC 7515 A.2.
constexpr std::string_view kModulus =
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-"
    "pCgNMs"
    "D1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-"
    "UTo7WTBEMa2R2CapHg665xsmtdV"
    "MTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
constexpr std::string_view kToken =
    "eyJhbGciOiJSUzI1NiJ9."
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_"
    "O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZ"
    "cAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--"
    "xi12jzDwusC-e"
    "OkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";

Json jwk(std::string_view more = "") {
  return value_or_throw(
      Json::parse(R"({"kty":"RSA","e":"AQAB","n":")" + std::string(kModulus) + "\"" + std::string(more) + "}"));
}

std::string refusal(const auto& call, std::string_view reason) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.reason, reason);
    return error.message;
  }
  return "";
}

std::string key_refusal(std::string_view text) {
  return refusal([&] { RsaPublicKey::from_jwk(value_or_throw(Json::parse(text))); }, "jwk_refused");
}

std::string set_refusal(std::string_view text) {
  return refusal([&] { RsaKeySet::parse(text); }, "jwk_refused");
}

TEST(Rs256, VerifiesTheExampleOfTheRfc) {
  const auto token = parse_compact(kToken);
  EXPECT_THAT(token.payload, HasSubstr(R"("iss":"joe")"));
  const auto key = RsaPublicKey::from_jwk(jwk());
  EXPECT_TRUE(key.verifies(as_bytes(token.signing_input), token.signature));
  EXPECT_FALSE(key.verifies(as_bytes(token.signing_input + "."), token.signature));
  for (const std::size_t at : {std::size_t{0}, std::size_t{128}, token.signature.size() - 1}) {
    Bytes changed = token.signature;
    changed[at] ^= 1;
    EXPECT_FALSE(key.verifies(as_bytes(token.signing_input), changed));
  }
  Bytes longer = token.signature;
  longer.insert(longer.begin(), 0);
  EXPECT_FALSE(key.verifies(as_bytes(token.signing_input), longer));
  EXPECT_FALSE(key.verifies(as_bytes(token.signing_input), {}));
}

TEST(Rs256, RefusesTokensThatAreNone) {
  const auto refused = [](std::string_view text) { return refusal([&] { parse_compact(text); }, "jws_refused"); };
  EXPECT_THAT(refused(""), HasSubstr("three parts"));
  EXPECT_THAT(refused("e30.e30"), HasSubstr("three parts"));
  EXPECT_THAT(refused("e30.e30.AA.AA"), HasSubstr("three parts"));
  EXPECT_THAT(refused("e30.e30.A"), HasSubstr("base64url"));
  EXPECT_THAT(refused("e30 .e30.AA"), HasSubstr("base64url"));
  EXPECT_THAT(refused("W10.e30.AA"), HasSubstr("JSON object"));
  EXPECT_THAT(refused(std::string(kMaxTokenBytes + 1, '.')), HasSubstr("too long"));
}

TEST(Rs256, RefusesKeysThatAreNotToBeTrusted) {
  const std::string n = R"("n":")" + std::string(kModulus) + '"';
  EXPECT_THAT(key_refusal(R"({"kty":"EC","e":"AQAB",)" + n + "}"), HasSubstr("kty RSA"));
  EXPECT_THAT(key_refusal(R"({"kty":"RSA","alg":"RS512","e":"AQAB",)" + n + "}"), HasSubstr("RS256"));
  EXPECT_THAT(key_refusal(R"({"kty":"RSA","use":"enc","e":"AQAB",)" + n + "}"), HasSubstr("signatures"));
  EXPECT_THAT(key_refusal(R"({"kty":"RSA","d":"AQ","e":"AQAB",)" + n + "}"), HasSubstr("private"));
  EXPECT_THAT(key_refusal(R"({"kty":"RSA",)" + n + "}"), HasSubstr("one of n and e"));
  EXPECT_THAT(key_refusal(R"({"kty":"RSA","e":"AQAB"})"), HasSubstr("one of n and e"));
  EXPECT_THAT(key_refusal(R"({"kty":"RSA"})"), HasSubstr("neither"));
  EXPECT_THAT(key_refusal(R"({"kty":"RSA","e":"AQ",)" + n + "}"), HasSubstr("exponent"));
  EXPECT_THAT(key_refusal(R"({"kty":"RSA","e":"Ag",)" + n + "}"), HasSubstr("exponent"));
  EXPECT_THAT(key_refusal(R"({"kty":"RSA","e":"AQAAAAE",)" + n + "}"), HasSubstr("exponent"));
  EXPECT_THAT(key_refusal(R"({"kty":"RSA","e":"AQAB","n":")" + to_base64url(Bytes(255, 0xFF)) + "\"}"),
              HasSubstr("2048"));
  EXPECT_THAT(key_refusal(R"({"kty":"RSA","e":"AQAB","n":")" + to_base64url(Bytes(1025, 0xFF)) + "\"}"),
              HasSubstr("8192"));
  EXPECT_THAT(key_refusal(R"({"kty":"RSA","e":"AQAB","n":")" + to_base64url(Bytes(256, 0xFE)) + "\"}"),
              HasSubstr("odd"));
  EXPECT_THAT(key_refusal(R"({"kty":"RSA","x5c":[]})"), HasSubstr("x5c"));
  EXPECT_THAT(key_refusal(R"({"kty":"RSA","x5c":["AAAA"]})"), HasSubstr("no RSA key"));
}

TEST(Rs256, ASetIsReadAsAWhole) {
  const std::string key = jwk(R"(,"kid":"a")").dump();
  const auto set = RsaKeySet::parse(R"({"keys":[{"kty":"EC","kid":"b"},)" + key + "]}");
  EXPECT_NE(set.find("a"), nullptr);
  EXPECT_EQ(set.find("b"), nullptr);
  EXPECT_EQ(set.find(""), nullptr);
  EXPECT_THAT(set_refusal("[]"), HasSubstr("keys"));
  EXPECT_THAT(set_refusal("{"), HasSubstr("strict JSON"));
  EXPECT_THAT(set_refusal(R"({"keys":[]})"), HasSubstr("no RSA key"));
  EXPECT_THAT(set_refusal(R"({"keys":[)" + key + "," + key + "]}"), HasSubstr("twice"));
  EXPECT_THAT(set_refusal(R"({"keys":[)" + jwk().dump() + "]}"), HasSubstr("no kid"));
  EXPECT_THAT(set_refusal(R"({"keys":[)" + key + R"(,{"kty":"RSA","kid":"c","e":"AQAB","n":"AA"}]})"),
              HasSubstr("modulus"));
}

}  // namespace
}  // namespace tb::jose
