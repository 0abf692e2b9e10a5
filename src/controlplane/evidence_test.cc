// spec: wire 1.1, Evidence; docs/attestation-policies.md. Tokens that an issuer of the test's own signs, through the
// routes.
#include "controlplane/evidence.h"

#include <gmock/gmock.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>

#include "base/crypto.h"
#include "controlplane/service_test.h"
#include "jose/rs256.h"

namespace tb::controlplane {
namespace {

using testing::HasSubstr;

constexpr std::string_view kIssuer = "https://issuer.test";
constexpr std::string_view kPolicy =
    R"({"issuer":"https://issuer.test","binding":["nonce"],"claims":[{"path":["model"],"equals":"sealed"}]})";

/// An issuer with a key of its own.
class Issuer {
 public:
  Issuer() : key_(EVP_RSA_gen(2048)) {}
  ~Issuer() { EVP_PKEY_free(key_); }
  Issuer(const Issuer&) = delete;
  Issuer& operator=(const Issuer&) = delete;

  std::string key_set() const {
    BIGNUM* n = nullptr;
    EVP_PKEY_get_bn_param(key_, OSSL_PKEY_PARAM_RSA_N, &n);
    Bytes modulus(256);
    BN_bn2binpad(n, modulus.data(), 256);
    BN_free(n);
    return R"({"keys":[{"kty":"RSA","kid":"k","e":"AQAB","n":")" + to_base64url(modulus) + R"("}]})";
  }
  std::string sign(const Json& claims) const {
    const std::string text =
        to_base64url(as_bytes(R"({"alg":"RS256","kid":"k"})")) + "." + to_base64url(as_bytes(claims.dump()));
    EVP_MD_CTX* digester = EVP_MD_CTX_new();
    Bytes signature(256);
    std::size_t size = signature.size();
    EVP_DigestSignInit(digester, nullptr, EVP_sha256(), nullptr, key_);
    EVP_DigestSign(digester, signature.data(), &size, as_bytes(text).data(), text.size());
    EVP_MD_CTX_free(digester);
    return text + "." + to_base64url(signature);
  }

 private:
  EVP_PKEY* key_;
};

class Evidence : public ServiceTest {
 protected:
  Evidence() {
    attestation_trust_.token.issuers.emplace(
        kIssuer, std::make_shared<attest::IssuerKeys>(jose::RsaKeySet::parse(issuer_.key_set())));
    register_asset("m");
    Json terms = Json::object();
    terms.set("attestation", "token");
    terms.set("attestation_policy", value_or_throw(Json::parse(kPolicy)));
    token_ = create_contract("c", terms);
  }

  std::string challenge() {
    const auto response = post("/api/v1/license/challenge", token_, R"({"contract_id":"c"})");
    EXPECT_EQ(response.status, 200) << response.body;
    return text_of(response, "nonce");
  }

  /// An authorize request of `key` with a token over its digest, as `change` leaves the claims.
  Json request_with(const jose::PrivateKey& key, const std::string& nonce, const auto& change) {
    Json request = authorize_body("c");
    request.set("key_release_jwk", key.public_key().to_jwk());
    request.set("nonce", nonce);
    Bytes message;
    const auto append = [&message](std::string_view text) { message.insert(message.end(), text.begin(), text.end()); };
    append("trustbridge/evidence/v1");
    for (const std::string& text : {nonce, key.public_key().thumbprint(), std::string("c"),
                                    request.find("asset_id")->as_string(), std::string(), std::string()}) {
      std::uint8_t length[4];
      store_be32(length, static_cast<std::uint32_t>(text.size()));
      append(as_text(length));
      append(text);
    }
    Json claims = Json::object();
    claims.set("iss", kIssuer);
    claims.set("exp", now_ / 1000 + 600);
    claims.set("jti", "id-1");
    claims.set("model", "sealed");
    claims.set("nonce", to_hex(sha256(message)));
    change(claims);
    Json evidence = Json::object();
    evidence.set("type", "token");
    evidence.set("token", issuer_.sign(claims));
    request.set("attestation", evidence);
    return request;
  }

  http::Response patch(const std::string& body) {
    return call({.method = "PATCH", .target = "/api/v1/contracts/c", .token = provider_, .body = body});
  }

  Issuer issuer_;
  std::string token_;
};

TEST_F(Evidence, ATokenOverTheRequestsDigestReleasesTheKey) {
  const auto response = authorize(token_, request_with(jose::PrivateKey::generate(), challenge(), [](Json&) {}));
  EXPECT_EQ(response.status, 200) << response.body;
  const auto events = get("/api/v1/events", auditor_);
  EXPECT_THAT(events.body, HasSubstr(R"("jti":"id-1")"));
}

TEST_F(Evidence, IsRequired) {
  Json request = request_with(jose::PrivateKey::generate(), challenge(), [](Json&) {});
  request.erase("attestation");
  EXPECT_EQ(text_of(authorize(token_, request), "reason"), "attestation_required");
}

TEST_F(Evidence, ServesOneRequestOnly) {
  const auto key = jose::PrivateKey::generate();
  const Json request = request_with(key, challenge(), [](Json&) {});
  EXPECT_EQ(authorize(token_, request).status, 200);
  EXPECT_EQ(text_of(authorize(token_, request), "reason"), "nonce_invalid");
  // The same token for a new challenge, and for a key of somebody else's.
  Json replayed = request;
  replayed.set("nonce", challenge());
  EXPECT_THAT(text_of(authorize(token_, replayed), "detail"), HasSubstr("token_binding"));
  const std::string nonce = challenge();
  Json stolen = request_with(key, nonce, [](Json&) {});
  stolen.set("key_release_jwk", jose::PrivateKey::generate().public_key().to_jwk());
  EXPECT_THAT(text_of(authorize(token_, stolen), "detail"), HasSubstr("token_binding"));
}

TEST_F(Evidence, WithoutANonceProvesNothing) {
  Json request = request_with(jose::PrivateKey::generate(), "", [](Json&) {});
  request.erase("nonce");
  const auto response = authorize(token_, request);
  EXPECT_EQ(text_of(response, "reason"), "attestation_failed");
  EXPECT_THAT(text_of(response, "detail"), HasSubstr("evidence_fresh"));
}

TEST_F(Evidence, ARefusalSaysHowToMendItAndKeepsWhatWasExpected) {
  const auto response = authorize(token_, request_with(jose::PrivateKey::generate(), challenge(),
                                                       [](Json& claims) { claims.set("model", "open"); }));
  EXPECT_EQ(response.status, 403);
  EXPECT_EQ(text_of(response, "reason"), "attestation_failed");
  EXPECT_THAT(text_of(response, "detail"), HasSubstr("token_claim"));
  EXPECT_THAT(text_of(response, "detail"), HasSubstr("model = open"));
  EXPECT_EQ(response.body.find("sealed"), std::string::npos) << "what the contract expects is the provider's";
  const auto events = get("/api/v1/events", auditor_);
  EXPECT_THAT(events.body, HasSubstr(R"("check":"token_claim")"));
  EXPECT_THAT(events.body, HasSubstr(R"("expected":"model = sealed")"));
}

TEST_F(Evidence, IsHeldAgainstTheContractThatIsInForceWhenTheSeatIsTaken) {
  // The contract changes after it was read, while the issuer's keys are fetched.
  std::string stricter(kPolicy);
  stricter.replace(stricter.find("sealed"), 6, "newest");
  attestation_trust_.token.issuers.insert_or_assign(
      std::string(kIssuer), std::make_shared<attest::IssuerKeys>([&] {
        EXPECT_EQ(patch(R"({"attestation_policy":)" + stricter + "}").status, 200);
        return issuer_.key_set();
      }));
  const auto response = authorize(token_, request_with(jose::PrivateKey::generate(), challenge(), [](Json&) {}));
  EXPECT_EQ(text_of(response, "reason"), "attestation_failed");
  EXPECT_THAT(text_of(response, "detail"), HasSubstr("model = sealed"));
}

TEST_F(Evidence, APolicyThatNobodyCouldVerifyIsNotAgreed) {
  const auto refusal = [&](std::string_view terms) {
    Json json = value_or_throw(Json::parse(terms));
    json.set("consumer", "a");
    json.set("asset_ids", Json(Json::Array{"m"}));
    json.set("not_after", "2099-01-01T00:00:00Z");
    const auto response = post("/api/v1/contracts", provider_, json.dump());
    EXPECT_EQ(response.status, 400);
    EXPECT_EQ(text_of(response, "code"), "contract_invalid");
    return response.body;
  };
  EXPECT_THAT(refusal(R"({"attestation":"token"})"), HasSubstr("issuer is missing"));
  EXPECT_THAT(refusal(R"({"attestation":"token","attestation_policy":{"issuer":"https://other.test","binding":["n"],)"
                      R"("claims":[{"path":["a"],"equals":1}]}})"),
              HasSubstr("no keys of the issuer"));
  EXPECT_THAT(refusal(R"({"attestation":"snp"})"), HasSubstr("measurements is missing"));
  EXPECT_THAT(
      refusal(R"({"attestation":"snp","attestation_policy":{"measurements":[")" + std::string(96, 'a') + R"("]}})"),
      HasSubstr("no roots"));
  const auto patched = patch(R"({"attestation_policy":{"issuer":"https://issuer.test"}})");
  EXPECT_EQ(patched.status, 400) << patched.body;
}

// A renewal whose answer was lost comes again with fresh evidence, and must not look like a clone's.
TEST(RepeatableForm, LeavesOutNonceAndEvidenceAndNothingElse) {
  const std::string once = R"({"contract_id":"c","nonce":"one","attestation":{"type":"tpm","quote":"a"}})";
  const std::string again = R"({"contract_id":"c","nonce":"two","attestation":{"type":"tpm","quote":"b"}})";
  EXPECT_EQ(repeatable_form(once), repeatable_form(again));
  EXPECT_NE(repeatable_form(once),
            repeatable_form(R"({"contract_id":"d","nonce":"one","attestation":{"type":"tpm"}})"));
  const std::string without = R"({"contract_id":"c","nonce":"one"})";
  EXPECT_EQ(repeatable_form(without), without);
}

}  // namespace
}  // namespace tb::controlplane
