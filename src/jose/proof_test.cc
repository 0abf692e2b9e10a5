// spec: RFC 9449 4.2, 4.3; wire 1.1
#include "jose/proof.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/crypto.h"

namespace tb::jose {
namespace {

constexpr std::int64_t kNow = 1800000000;
const std::string kUrl = "https://cp.example/api/v1/license/authorize";

ProofClaims good_claims() {
  return {.method = "POST", .url = kUrl, .issued_at_seconds = kNow, .jti = std::string(22, 'j'), .token = "tba_x"};
}

ProofExpectation good_expectation() {
  return {.method = "POST", .url = kUrl, .now_seconds = kNow, .bearer_token = "tba_x"};
}

std::string outcome(const std::string& text, const ProofExpectation& expected = good_expectation()) {
  try {
    (void)verify_proof(text, expected);
    return "";
  } catch (const Error& error) {
    return error.reason + " " + error.message;
  }
}

/// The parts of a good proof, header and payload as JSON, signed by nobody again.
std::array<std::string, 3> parts_of(const std::string& text) {
  const std::size_t first = text.find('.');
  const std::size_t last = text.rfind('.');
  const auto decoded = [](const std::string& part) { return std::string(as_text(from_base64url(part).value())); };
  return {decoded(text.substr(0, first)), decoded(text.substr(first + 1, last - first - 1)), text.substr(last + 1)};
}

std::string joined(const std::array<std::string, 3>& parts) {
  return to_base64url(as_bytes(parts[0])) + "." + to_base64url(as_bytes(parts[1])) + "." + parts[2];
}

TEST(Proof, IsOfTheKeyThatSignedIt) {
  const auto key = PrivateKey::generate();
  const Proof proof = verify_proof(sign_proof(key, good_claims()), good_expectation());
  EXPECT_EQ(proof.key, key.public_key());
  EXPECT_EQ(proof.jti, good_claims().jti);
  EXPECT_EQ(proof.issued_at_seconds, kNow);
}

TEST(Proof, CarriesNoPrivateKeyAndNoToken) {
  const auto key = PrivateKey::generate();
  const auto parts = parts_of(sign_proof(key, good_claims()));
  EXPECT_EQ(parts[0].find(to_base64url(key.scalar().reveal())), std::string::npos);
  EXPECT_EQ(parts[1].find("tba_x"), std::string::npos);
}

TEST(Proof, IsForOneRequestOnly) {
  const auto key = PrivateKey::generate();
  const auto refused = [&](auto change, const char* why) {
    ProofClaims claims = good_claims();
    change(claims);
    EXPECT_THAT(outcome(sign_proof(key, claims)), testing::HasSubstr(why));
  };
  refused([](ProofClaims& c) { c.method = "GET"; }, "htm");
  refused([](ProofClaims& c) { c.url = "https://cp.example/api/v1/license/release"; }, "htu is not ");
  refused([](ProofClaims& c) { c.url = "https://evil.example/api/v1/license/authorize"; }, "htu");
  refused([](ProofClaims& c) { c.url = "http://cp.example/api/v1/license/authorize"; }, "htu");
  refused([](ProofClaims& c) { c.url = "https://cp.example:8443/api/v1/license/authorize"; }, "htu");
  refused([](ProofClaims& c) { c.token = "tba_y"; }, "ath");
  refused([](ProofClaims& c) { c.token = ""; }, "ath");
  refused([](ProofClaims& c) { c.jti = "short"; }, "jti");
  refused([](ProofClaims& c) { c.jti = std::string(65, 'j'); }, "jti");
  refused([](ProofClaims& c) { c.jti = std::string(22, ' '); }, "jti");
  refused([](ProofClaims& c) { c.issued_at_seconds = kNow - 61; }, "proof_stale");
  refused([](ProofClaims& c) { c.issued_at_seconds = kNow + 61; }, "proof_stale");
  ProofExpectation without_token = good_expectation();
  without_token.bearer_token = "";
  EXPECT_THAT(outcome(sign_proof(key, good_claims()), without_token), testing::HasSubstr("ath"));
  for (const std::int64_t off : {-60, 60}) {
    ProofClaims claims = good_claims();
    claims.issued_at_seconds = kNow + off;
    EXPECT_EQ(outcome(sign_proof(key, claims)), "");
  }
}

TEST(Proof, UrlsCompareAsUrls) {
  const auto key = PrivateKey::generate();
  ProofClaims claims = good_claims();
  claims.url = "HTTPS://CP.example:443/api/v1/license/authorize?secret=1";
  EXPECT_EQ(parts_of(sign_proof(key, claims))[1].find("secret"), std::string::npos);
  EXPECT_EQ(outcome(sign_proof(key, claims)), "");
  EXPECT_EQ(comparable_url("http://localhost:8080/x"), comparable_url("http://127.0.0.1:8080/x#f"));
  EXPECT_EQ(comparable_url("http://[::1]/x"), comparable_url("http://127.0.0.1:80/x"));
  EXPECT_EQ(comparable_url("https://a"), comparable_url("https://A/"));
  EXPECT_NE(comparable_url("https://localhost.evil/x"), comparable_url("https://127.0.0.1/x"));
  EXPECT_NE(comparable_url("https://a/X"), comparable_url("https://a/x"));
  EXPECT_EQ(comparable_url(comparable_url("http://a:80:80/x")), comparable_url("http://a:80:80/x"));
  EXPECT_NE(comparable_url("https://a:80/x"), comparable_url("https://a/x"));
}

TEST(Proof, RefusesWhatWasNotSignedByItsKey) {
  const std::string good = sign_proof(PrivateKey::generate(), good_claims());
  auto parts = parts_of(good);
  const auto replaced = [&](std::size_t part, const std::string& from, const std::string& to) {
    auto changed = parts;
    const std::size_t at = changed[part].find(from);
    EXPECT_NE(at, std::string::npos) << from;
    changed[part].replace(at, from.size(), to);
    return outcome(joined(changed));
  };
  EXPECT_EQ(outcome(joined(parts)), "");
  EXPECT_THAT(replaced(1, "1800000000", "1800000001"), testing::HasSubstr("signature"));
  EXPECT_THAT(replaced(0, "ES256", "ES384"), testing::HasSubstr("alg"));
  EXPECT_THAT(replaced(0, "ES256", "none"), testing::HasSubstr("alg"));
  EXPECT_THAT(replaced(0, "ES256", "HS256"), testing::HasSubstr("alg"));
  EXPECT_THAT(replaced(0, "dpop+jwt", "jwt"), testing::HasSubstr("typ"));
  EXPECT_THAT(replaced(0, "\"typ\"", "\"crit\":[],\"typ\""), testing::HasSubstr("crit"));
  EXPECT_THAT(replaced(0, "\"kty\"", "\"d\":\"AA\",\"kty\""), testing::HasSubstr("private key"));
  EXPECT_THAT(replaced(0, "P-256", "P-384"), testing::HasSubstr("crv"));
  EXPECT_THAT(replaced(0, "\"alg\"", "\"alg\":\"ES256\",\"alg\""), testing::HasSubstr("strict"));
  EXPECT_THAT(replaced(0, "\"jwk\"", "\"jwl\""), testing::HasSubstr("jwk is missing"));
  const auto other = parts_of(sign_proof(PrivateKey::generate(), good_claims()));
  EXPECT_THAT(outcome(joined({other[0], parts[1], parts[2]})), testing::HasSubstr("signature"));
  EXPECT_THAT(outcome(joined({parts[0], parts[1], parts[2].substr(4)})), testing::HasSubstr("64 bytes"));
}

TEST(Proof, RefusesBrokenForms) {
  const std::string good = sign_proof(PrivateKey::generate(), good_claims());
  for (const std::string& text : {std::string(), std::string("."), std::string(".."), std::string("a.b"), good + ".x",
                                  good + "=", "x" + good, std::string(kMaxProofBytes + 1, 'a')}) {
    EXPECT_THAT(outcome(text), testing::StartsWith("proof_refused")) << text.substr(0, 40);
  }
}

}  // namespace
}  // namespace tb::jose
