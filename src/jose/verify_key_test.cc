// spec: RFC 7517, RFC 7518 3.3 to 3.5, RFC 8037
#include "jose/verify_key.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "jose/signing_test.h"

namespace tb::jose {
namespace {

using testing::HasSubstr;
using namespace testing_keys;

Json parsed(std::string_view text) {
  return value_or_throw(Json::parse(text));
}

std::string refusal(const auto& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.reason, "jwk_refused");
    return error.message;
  }
  return "";
}

std::string key_refusal(const Json& jwk) {
  return refusal([&] { VerifyKey::from_jwk(jwk); });
}

Json with(Json jwk, std::string_view name, Json value) {
  jwk.set(name, std::move(value));
  return jwk;
}

TEST(VerifyKey, EachAlgorithmByItsKeyAndByNoOther) {
  const Key rsa = make_rsa();
  const Key ec = make_p256();
  const Key ed = make_ed25519();
  const std::pair<EVP_PKEY*, std::vector<std::string>> cases[] = {
      {rsa.get(), {"RS256", "PS256"}}, {ec.get(), {"ES256"}}, {ed.get(), {"EdDSA"}}};
  for (const auto& [key, algorithms] : cases) {
    const VerifyKey verify = VerifyKey::from_jwk(jwk_of(key));
    for (const std::string& alg : algorithms) {
      const Bytes signature = signed_by(key, alg, "message");
      EXPECT_TRUE(verify.verifies(alg, as_bytes("message"), signature)) << alg;
      EXPECT_FALSE(verify.verifies(alg, as_bytes("massage"), signature)) << alg;
      for (const std::string_view other :
           {"RS256", "PS256", "ES256", "EdDSA", "none", "HS256", "RS512", "ES384", "", "rs256"}) {
        if (other != alg) EXPECT_FALSE(verify.verifies(other, as_bytes("message"), signature)) << alg << other;
      }
      for (const std::size_t at : {std::size_t{0}, signature.size() / 2, signature.size() - 1}) {
        Bytes changed = signature;
        changed[at] ^= 1;
        EXPECT_FALSE(verify.verifies(alg, as_bytes("message"), changed)) << alg << at;
      }
      Bytes longer = signature;
      longer.push_back(0);
      EXPECT_FALSE(verify.verifies(alg, as_bytes("message"), longer)) << alg;
      longer.insert(longer.begin(), 0);
      EXPECT_FALSE(verify.verifies(alg, as_bytes("message"), longer)) << alg;
      EXPECT_FALSE(verify.verifies(alg, as_bytes("message"), {})) << alg;
      EXPECT_FALSE(verify.verifies(alg, as_bytes("message"), Bytes(signature.size(), 0))) << alg;
      EXPECT_FALSE(verify.verifies(alg, as_bytes("message"), Bytes(signature.size(), 0xff))) << alg;
    }
  }
}

TEST(VerifyKey, AnAlgorithmInTheSetIsTheOnlyOne) {
  const Key rsa = make_rsa();
  const VerifyKey pinned = VerifyKey::from_jwk(with(jwk_of(rsa.get()), "alg", "PS256"));
  EXPECT_TRUE(pinned.verifies("PS256", as_bytes("m"), signed_by(rsa.get(), "PS256", "m")));
  EXPECT_FALSE(pinned.verifies("RS256", as_bytes("m"), signed_by(rsa.get(), "RS256", "m")));
}

TEST(VerifyKey, ASaltOfAnotherLengthIsRefused) {
  const Key rsa = make_rsa();
  const VerifyKey key = VerifyKey::from_jwk(jwk_of(rsa.get()));
  EXPECT_FALSE(key.verifies("PS256", as_bytes("m"), signed_by(rsa.get(), "PS-short", "m")));
}

TEST(VerifyKey, KeysThatAreNotToBeTrusted) {
  const Json rsa = jwk_of(make_rsa().get());
  const Json ec = jwk_of(make_p256().get());
  const Json ed = jwk_of(make_ed25519().get());
  for (const char* name : {"d", "p", "q", "k"}) {
    EXPECT_THAT(key_refusal(with(rsa, name, "AQ")), HasSubstr("private"));
    EXPECT_THAT(key_refusal(with(ec, name, "AQ")), HasSubstr("private"));
    EXPECT_THAT(key_refusal(with(ed, name, "AQ")), HasSubstr("private"));
  }
  EXPECT_THAT(key_refusal(with(rsa, "alg", "HS256")), HasSubstr("RS256"));
  EXPECT_THAT(key_refusal(with(rsa, "use", "enc")), HasSubstr("RS256"));
  EXPECT_THAT(key_refusal(with(rsa, "key_ops", Json(Json::Array{Json("encrypt")}))), HasSubstr("RS256"));
  EXPECT_THAT(key_refusal(with(ec, "crv", "P-384")), HasSubstr("RS256"));
  EXPECT_THAT(key_refusal(with(ec, "alg", "RS256")), HasSubstr("RS256"));
  EXPECT_THAT(key_refusal(with(ed, "crv", "Ed448")), HasSubstr("RS256"));
  EXPECT_THAT(key_refusal(parsed(R"({"kty":"oct","k":"AQ"})")), HasSubstr("RS256"));
  EXPECT_THAT(key_refusal(parsed("[]")), HasSubstr("RS256"));
  EXPECT_THAT(key_refusal(with(rsa, "e", "AQ")), HasSubstr("exponent"));
  EXPECT_THAT(key_refusal(with(rsa, "n", to_base64url(Bytes(128, 0xff)))), HasSubstr("2048"));
  EXPECT_THAT(key_refusal(with(rsa, "n", to_base64url(Bytes(520, 0xff)))), HasSubstr("4096"));
  EXPECT_THAT(key_refusal(with(rsa, "n", 5)), HasSubstr("no text"));
  EXPECT_THAT(key_refusal(with(rsa, "n", "!")), HasSubstr("base64url"));
  EXPECT_THAT(key_refusal(with(ec, "x", to_base64url(Bytes(32, 1)))), HasSubstr("sound")) << "not on the curve";
  EXPECT_THAT(key_refusal(with(ec, "y", to_base64url(Bytes(31, 1)))), HasSubstr("sound"));
  EXPECT_THAT(key_refusal(with(ed, "x", to_base64url(Bytes(31, 1)))), HasSubstr("sound"));
}

TEST(VerifyKey, ASetIsReadAsAWhole) {
  const auto set_refusal = [](std::string_view text) { return refusal([&] { VerifyKeySet::parse(text); }); };
  const std::string rsa = with(jwk_of(make_rsa().get()), "kid", "a").dump();
  const std::string ec = with(jwk_of(make_p256().get()), "kid", "b").dump();
  const auto set = VerifyKeySet::parse(R"({"keys":[{"kty":"oct","k":"AQ","kid":"c"},{"kty":"EC","crv":"P-521"},)" +
                                       rsa + "," + ec + R"(],"more":1})");
  EXPECT_EQ(set.size(), 2U);
  EXPECT_NE(set.find("a"), nullptr);
  EXPECT_NE(set.find("b"), nullptr);
  EXPECT_EQ(set.find("c"), nullptr);
  EXPECT_THAT(set_refusal("{"), HasSubstr("strict JSON"));
  EXPECT_THAT(set_refusal("[]"), HasSubstr("keys"));
  EXPECT_THAT(set_refusal(R"({"keys":{}})"), HasSubstr("keys"));
  EXPECT_THAT(set_refusal(R"({"keys":[]})"), HasSubstr("no key"));
  EXPECT_THAT(set_refusal(R"({"keys":[)" + rsa + "," + rsa + "]}"), HasSubstr("twice"));
  EXPECT_THAT(set_refusal(R"({"keys":[)" + jwk_of(make_p256().get()).dump() + "]}"), HasSubstr("no kid"));
  EXPECT_THAT(set_refusal(R"({"keys":[)" + rsa + R"(,{"kty":"RSA","kid":"c","e":"AQAB","n":"AA"}]})"),
              HasSubstr("modulus"));
  EXPECT_THAT(set_refusal(std::string(kMaxKeySetBytes + 1, ' ')), HasSubstr("strict JSON"));
}

}  // namespace
}  // namespace tb::jose
