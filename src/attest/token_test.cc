// spec: docs/attestation-policies.md, token; the tokens themselves are tried in azure/attestation_vectors_test.cc
#include "attest/token.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "attest/verify_evidence.h"

namespace tb::attest {
namespace {

using testing::HasSubstr;

std::string refusal(std::string_view text) {
  try {
    validate_token_policy(value_or_throw(Json::parse(text)), {});
  } catch (const Error& error) {
    EXPECT_EQ(error.reason, "contract_invalid");
    return error.message;
  }
  return "";
}

std::string with_claims(const std::string& claims) {
  return R"({"issuer":"https://a.test","binding":["nonce"],"claims":)" + claims + "}";
}

TEST(TokenPolicy, TakesRulesOverClaims) {
  EXPECT_EQ(refusal(with_claims(R"([{"path":["a","b"],"equals":"x"},{"path":["c"],"one_of":[1,true,"t"]},)"
                                R"({"path":["d"],"at_least":7}])")),
            "");
}

TEST(TokenPolicy, RefusesWhatItDoesNotUnderstand) {
  EXPECT_THAT(refusal("{}"), HasSubstr("issuer is missing"));
  EXPECT_THAT(refusal(R"({"issuer":"http://a.test","binding":["n"]})"), HasSubstr("https"));
  EXPECT_THAT(refusal(R"({"issuer":"https://a.test","profile":"other"})"),
              HasSubstr("not known to this control plane"));
  EXPECT_THAT(refusal(R"({"issuer":"https://a.test","binding":["n"],"options":{}})"),
              HasSubstr("options needs a profile"));
  EXPECT_THAT(refusal(R"({"issuer":"https://a.test","claims":[{"path":["a"],"equals":1}]})"), HasSubstr("binding"));
  EXPECT_THAT(refusal(R"({"issuer":"https://a.test","binding":["n"]})"), HasSubstr("claims is missing"));
  EXPECT_THAT(refusal(R"({"issuer":"https://a.test","binding":["n"],"jku":"x"})"), HasSubstr("jku is not known"));
  EXPECT_THAT(refusal(with_claims("[]")), HasSubstr("1 to 64 rules"));
  EXPECT_THAT(refusal(with_claims(R"([{"path":[],"equals":1}])")), HasSubstr("claims[0].path"));
  EXPECT_THAT(refusal(with_claims(R"([{"path":"a","equals":1}])")), HasSubstr("claims[0].path"));
  EXPECT_THAT(refusal(with_claims(R"([{"path":["a"]}])")), HasSubstr("exactly one of"));
  EXPECT_THAT(refusal(with_claims(R"([{"path":["a"],"equals":1,"at_least":1}])")), HasSubstr("exactly one of"));
  EXPECT_THAT(refusal(with_claims(R"([{"path":["a"],"equals":null}])")), HasSubstr("claims[0].equals"));
  EXPECT_THAT(refusal(with_claims(R"([{"path":["a"],"equals":1.5}])")), HasSubstr("claims[0].equals"));
  EXPECT_THAT(refusal(with_claims(R"([{"path":["a"],"one_of":[{}]}])")), HasSubstr("claims[0].one_of"));
  EXPECT_THAT(refusal(with_claims(R"([{"path":["a"],"at_least":-1}])")), HasSubstr("claims[0].at_least"));
  EXPECT_THAT(refusal(with_claims(R"([{"path":["a"],"matches":"x"}])")), HasSubstr("claims[0].matches is not known"));
}

TEST(VerifyEvidence, AKindThatIsNotKnownIsRefused) {
  const Trust trust;
  const auto verdict = verify_evidence("sgx", Json::object(), Json::object(), Digest{}, trust, 0);
  ASSERT_FALSE(verdict.has_value());
  EXPECT_EQ(verdict.error().id, "attestation_kind");
  EXPECT_FALSE(is_verified_kind("none"));
  EXPECT_FALSE(is_verified_kind("tpm"));
}

class IssuerKeysTest : public testing::Test {
 protected:
  /// A set with one key of that name; its modulus is odd and long enough, which is all that parsing asks.
  static std::string set_of(std::string_view kid) {
    return R"({"keys":[{"kty":"RSA","kid":")" + std::string(kid) + R"(","e":"AQAB","n":")" +
           to_base64url(Bytes(256, 0xFF)) + R"("}]})";
  }
  std::string answer() {
    ++fetches_;
    if (down_) throw Error("network_unreachable", "down");
    return set_of(kid_);
  }
  IssuerKeys keys_{[this] { return answer(); }, {.between_fetches_ms = 1000, .keep_ms = 100'000}};
  std::string kid_ = "a";
  bool down_ = false;
  int fetches_ = 0;
};

TEST_F(IssuerKeysTest, KnownKeysAreFetchedOnce) {
  EXPECT_TRUE(keys_.find("a", 1'000'000));
  EXPECT_TRUE(keys_.find("a", 1'050'000));
  EXPECT_EQ(fetches_, 1);
}

TEST_F(IssuerKeysTest, AnUnknownKeyIsLookedForOnceInAWhile) {
  EXPECT_TRUE(keys_.find("a", 1'000'000));
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(keys_.find("b", 1'000'000 + i));
  EXPECT_EQ(fetches_, 1);
  kid_ = "b";
  EXPECT_TRUE(keys_.find("b", 1'001'000));
  EXPECT_FALSE(keys_.find("a", 1'001'001));
  EXPECT_EQ(fetches_, 2);
}

TEST_F(IssuerKeysTest, WithdrawnKeysGoWhenTheSetIsOld) {
  EXPECT_TRUE(keys_.find("a", 1'000'000));
  kid_ = "b";
  EXPECT_TRUE(keys_.find("a", 1'099'999));
  EXPECT_FALSE(keys_.find("a", 1'100'000));
}

TEST_F(IssuerKeysTest, WhatCannotBeFetchedIsNotKnownRatherThanRefused) {
  const auto reason = [&](std::string_view kid, UnixMs now) -> std::string {
    try {
      return keys_.find(kid, now) ? "found" : "refused";
    } catch (const Error& error) {
      return error.reason;
    }
  };
  down_ = true;
  EXPECT_EQ(reason("a", 1'000'000), "attestation_unavailable");
  EXPECT_EQ(reason("a", 1'000'500), "attestation_unavailable");
  EXPECT_EQ(fetches_, 1);
  down_ = false;
  EXPECT_EQ(reason("a", 1'001'000), "found");
  down_ = true;
  EXPECT_EQ(reason("b", 1'002'000), "attestation_unavailable");
  EXPECT_EQ(reason("a", 1'002'001), "found");
  // An old set is not trusted for ever because its issuer cannot be reached.
  EXPECT_EQ(reason("a", 1'101'000), "attestation_unavailable");
}

}  // namespace
}  // namespace tb::attest
