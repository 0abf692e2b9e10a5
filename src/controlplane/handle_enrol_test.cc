// Enrolment and evidence through the real routes. The TPM here is software that plays both keys: what a real one does
// is in tests/integration/tpm_test.py, what forgeries meet in attest/forgery_test.cc.
#include "api/evidence.h"
#include "attest/crypto_keys.h"
#include "base/fs.h"
#include "controlplane/service_test.h"
#include "jose/p256.h"

namespace tb::controlplane {
namespace {

Json vector_file(const std::string& name) {
  return value_or_throw(
      Json::parse(value_or_throw(read_small_file(TB_SOURCE_DIR "/tests/vectors/tpm/" + name + ".json"))));
}

class Enrol : public ServiceTest {
 protected:
  void SetUp() override {
    register_asset("m");
    good_ = vector_file("good-rsa-ek-ecdsa-ak");
    const Json policy = *good_.find("policy");
    token_ = contract("acme-1", policy);
  }

  std::string contract(const std::string& id, const Json& policy) {
    Json more = Json::object();
    more.set("attestation", "tpm");
    more.set("attestation_policy", policy);
    return create_contract(id, more);
  }
  Json enrol_body(const std::string& contract_id = "acme-1") const {
    api::EnrolRequest request;
    request.contract_id = contract_id;
    request.ek_public = value_or_throw(from_base64url(good_.find("ek_public")->as_string()));
    request.ak_public = value_or_throw(from_base64url(good_.find("ak_public")->as_string()));
    return request.to_json();
  }
  std::string ak_name() const { return good_.find("evidence")->find("ak_name")->as_string(); }
  std::string ek_sha256() { return text_of(post("/api/v1/license/enroll", token_, enrol_body().dump()), "ek_sha256"); }
  http::Response activate(const std::string& secret) {
    api::ActivateRequest request;
    request.contract_id = "acme-1";
    request.ak_name = ak_name();
    request.secret = SecretString(secret);
    return post("/api/v1/license/activate", token_, request.to_json().dump());
  }
  /// As if the TPM had given the secret back: the store's own verbs.
  void enrol_by_the_store() {
    const Digest hash = sha256(std::string_view("s"));
    const store::Enrolment enrolment{.ak_name = ak_name(),
                                     .ek_sha256 = ek_sha256(),
                                     .ek_public = value_or_throw(from_base64url(good_.find("ek_public")->as_string())),
                                     .ak_public = value_or_throw(from_base64url(good_.find("ak_public")->as_string())),
                                     .secret_hash = Bytes(hash.begin(), hash.end()),
                                     .expires_at = now_ + 1000};
    const store::Event event{.type = "test", .tenant = "t1", .actor = "test", .subject = "acme-1"};
    ASSERT_TRUE(store_->begin_enrolment("t1", "acme-1", enrolment, now_, 9, event));
    ASSERT_EQ(store_->finish_enrolment("t1", "acme-1", ak_name(), hash, now_, 9, event),
              store::EnrolOutcome::kEnrolled);
  }
  http::Response authorize_with(const std::optional<Json>& evidence) {
    Json body = authorize_body("acme-1");
    body.set("key_release_jwk", jose::PrivateKey::generate().public_key().to_jwk());
    Json asked = Json::object();
    asked.set("contract_id", "acme-1");
    body.set("nonce", text_of(post("/api/v1/license/challenge", token_, asked.dump()), "nonce"));
    if (evidence) body.set("attestation", *evidence);
    return authorize(token_, body);
  }
  std::string last_event() {
    const auto events = store_->list_events({}, -1, 1000);
    return events.back().line;
  }

  Json good_;
  std::string token_;
};

TEST_F(Enrol, ACredentialIsGivenAndAWrongSecretRefused) {
  const auto answer = post("/api/v1/license/enroll", token_, enrol_body().dump());
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(text_of(answer, "status"), "challenge");
  const auto refused = activate(random_token(32));
  EXPECT_EQ(refused.status, 403);
  EXPECT_EQ(text_of(refused, "reason"), "attestation_failed");
  EXPECT_NE(text_of(refused, "detail").find("credential"), std::string::npos);
  EXPECT_NE(last_event().find("\"check\":\"credential\""), std::string::npos);
  EXPECT_FALSE(store_->find_machine("t1", "acme-1", ak_name()));
}

TEST_F(Enrol, TheCredentialOfTheContractIsAskedForFirst) {
  for (const char* route : {"enroll", "activate"}) {
    Json body = enrol_body();
    if (std::string_view(route) == "activate") {
      body = Json::object();
      body.set("contract_id", "acme-1");
      body.set("ak_name", ak_name());
      body.set("secret", "AAAA");
    }
    const std::string path = std::string("/api/v1/license/") + route;
    EXPECT_EQ(text_of(post(path, "tba_wrong", body.dump()), "reason"), "authentication_required");
    body.set("extra", 1);
    EXPECT_EQ(text_of(post(path, token_, body.dump()), "code"), "unknown_field");
    EXPECT_EQ(post(path, token_, "[]").status, 400);
  }
  const std::string other = create_contract("plain-1");
  EXPECT_EQ(text_of(post("/api/v1/license/enroll", other, enrol_body("plain-1").dump()), "code"), "field_invalid");
}

TEST_F(Enrol, TheSameKeysMayAskAgainAndOpenNoMore) {
  // The same key again takes its own place.
  for (int i = 0; i < 20; ++i) EXPECT_EQ(post("/api/v1/license/enroll", token_, enrol_body().dump()).status, 200);
}

TEST_F(Enrol, AKeyThatIsKnownNeedsNoCredentialAgain) {
  enrol_by_the_store();
  const auto answer = post("/api/v1/license/enroll", token_, enrol_body().dump());
  EXPECT_EQ(text_of(answer, "status"), "enrolled");
  EXPECT_EQ(text_of(answer, "approved"), "false");
}

TEST_F(Enrol, TheProviderApprovesAndForgets) {
  const std::string ek = ek_sha256();
  enrol_by_the_store();
  const std::string path = "/api/v1/contracts/acme-1/machines";
  EXPECT_EQ(post(path, provider_, R"({"approve":")" + ek + R"("})").status, 200);
  EXPECT_TRUE(store_->find_machine("t1", "acme-1", ak_name())->approved);
  const Json list = body_of(get(path, provider_));
  ASSERT_EQ(list.find("items")->as_array().size(), 1U);
  EXPECT_EQ(list.find("items")->as_array()[0].find("ek_sha256")->as_string(), ek);
  EXPECT_EQ(post(path, other_provider_, R"({"approve":")" + ek + R"("})").status, 404);
  EXPECT_EQ(get(path, other_provider_).status, 404);
  EXPECT_EQ(post(path, auditor_ + "x", R"({"approve":")" + ek + R"("})").status, 401);
  for (const std::string body : {R"({"approve":"x"})", R"({})", R"([])", R"({"approve":")", R"({"reset":true})"}) {
    EXPECT_EQ(post(path, provider_, body).status, 400) << body;
  }
  EXPECT_EQ(post(path, provider_, R"({"reset":")" + ek + R"("})").status, 200);
  EXPECT_FALSE(store_->find_machine("t1", "acme-1", ak_name()));
}

TEST_F(Enrol, TheChallengeSaysWhatToQuote) {
  Json asked = Json::object();
  asked.set("contract_id", "acme-1");
  const auto answer = api::ChallengeAnswer::parse(post("/api/v1/license/challenge", token_, asked.dump()).body);
  EXPECT_EQ(answer.pcr_selection, (api::PcrIndices{{"sha256", {0, 1, 2, 3, 4, 5, 6, 7}}}));
}

TEST_F(Enrol, AuthorizeNamesTheCheckAndTheEventWhatWasExpected) {
  EXPECT_EQ(text_of(authorize_with({}), "reason"), "attestation_required");
  const auto unknown = authorize_with(*good_.find("evidence"));
  EXPECT_EQ(text_of(unknown, "reason"), "attestation_failed");
  EXPECT_NE(text_of(unknown, "detail").find("ak_enrolled"), std::string::npos);
  enrol_by_the_store();
  const auto old = authorize_with(*good_.find("evidence"));
  EXPECT_EQ(text_of(old, "reason"), "attestation_failed");
  EXPECT_NE(text_of(old, "detail").find("Check nonce"), std::string::npos) << "evidence of another request";
  const Json event = value_or_throw(Json::parse(last_event()));
  const Json* detail = event.find("detail");
  ASSERT_NE(detail, nullptr);
  EXPECT_EQ(detail->find("check")->as_string(), "nonce");
  EXPECT_NE(detail->find("expected"), nullptr);
  EXPECT_EQ(text_of(old, "detail").find(detail->find("expected")->as_string()), std::string::npos);
  EXPECT_EQ(text_of(authorize_with(Json("x")), "reason"), "attestation_failed");
}

TEST_F(Enrol, APolicyThatProvesNothingIsRefusedAtCreation) {
  for (const char* policy :
       {R"({"pcrs":{"sha1":{"0":"0000000000000000000000000000000000000000"}}})", R"({"pcrs":{"sha256":{"16":["00"]}}})",
        R"({"pcrs":{"sha256":{"23":["00"]}}})", R"({"pcrs":{"sha256":{"24":["00"]}}})",
        R"({"pcrs":{"sha256":{"01":"00"}}})", R"({"pcrs":{"sha256":{"0":"00"}}})", R"({"pcrs":{"sha256":{"0":[]}}})",
        R"({"pcrs":{"sha256":{}}})", R"({"pcrs":[]})", R"({"ek_sha256":["AB"]})", R"({"ek_roots":["x"]})",
        R"({"config_sha256":[1]})", R"({"firmware_deny":["1"]})", R"({"firmware_min":1})", R"({"fresh_at_renewal":1})",
        R"({"unknown":1})"}) {
    Json body = Json::object();
    body.set("consumer", "acme");
    body.set("asset_ids", Json(Json::Array{"m"}));
    body.set("not_after", "2030-01-01T00:00:00Z");
    body.set("attestation", "tpm");
    body.set("attestation_policy", value_or_throw(Json::parse(policy)));
    const auto answer = post("/api/v1/contracts", provider_, body.dump());
    EXPECT_EQ(text_of(answer, "code"), "contract_invalid") << policy << answer.body;
  }
}

}  // namespace
}  // namespace tb::controlplane
