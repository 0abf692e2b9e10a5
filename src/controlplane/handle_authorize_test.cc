// spec: wire 1.1
#include <gtest/gtest.h>

#include <thread>

#include "controlplane/service_test.h"
#include "jose/sealed_key.h"

namespace tb::controlplane {
namespace {

class Authorize : public ServiceTest {
 protected:
  Authorize() { register_asset("m"); }

  Json with_jwk(const std::string& contract_id, const jose::PrivateKey& key) const {
    Json body = authorize_body(contract_id);
    body.set("key_release_jwk", key.public_key().to_jwk());
    return body;
  }
  http::Response authorize_new(const std::string& token, const std::string& contract_id) {
    return authorize(token, with_jwk(contract_id, jose::PrivateKey::generate()));
  }
  static Json member(const char* name, Json value) {
    Json json = Json::object();
    json.set(name, std::move(value));
    return json;
  }
};

TEST_F(Authorize, ReleasesTheKeyToTheOneTimeKeyOnly) {
  const std::string token = create_contract("c");
  const auto one_time = jose::PrivateKey::generate();
  const auto response = authorize(token, with_jwk("c", one_time));
  ASSERT_EQ(response.status, 200) << response.body;
  const auto outcome = api::parse_authorize_answer(response.body, {});
  const auto& answer = std::get<api::AuthorizeAnswer>(outcome);
  EXPECT_EQ(response.body.find(to_hex(key_.reveal())), std::string::npos);
  const FileKey key = jose::open_key(one_time, *answer.wrapped_key,
                                     {{"contract_id", "c"},
                                      {"asset_id", "m"},
                                      {"lease_id", *answer.lease_id},
                                      {"policy_version", *answer.policy_version}});
  EXPECT_TRUE(equal_constant_time(key.reveal(), key_.reveal()));
  EXPECT_EQ(*answer.lease_expires_at, now_ + 300000);
  EXPECT_EQ(*answer.renew_after_seconds, 100);
  EXPECT_EQ(answer.expires_at, now_ + 3600000);
  EXPECT_EQ(answer.metadata->plaintext_bytes, 10);
  EXPECT_EQ(answer.issued_at, now_);
}

TEST_F(Authorize, AOneTimeKeyIsAcceptedOnce) {
  const std::string token = create_contract("c", member("max_seats", 5));
  const auto one_time = jose::PrivateKey::generate();
  EXPECT_EQ(authorize(token, with_jwk("c", one_time)).status, 200);
  EXPECT_EQ(text_of(authorize(token, with_jwk("c", one_time)), "code"), "jwk_refused");
  Json body = with_jwk("c", one_time);
  body.set("key_release_jwk", Json::object());
  EXPECT_EQ(authorize(token, body).status, 400);
}

TEST_F(Authorize, TheFirstRefusalTellsNothing) {
  const std::string token = create_contract("c");
  const std::string suspended = create_contract("s");
  post("/api/v1/contracts/s/suspend", provider_);
  const auto expected = authorize("", authorize_body("does-not-exist"));
  EXPECT_EQ(expected.status, 403);
  EXPECT_EQ(text_of(expected, "reason"), "authentication_required");
  Json other_asset = authorize_body("c");
  other_asset.set("asset_id", "unknown");
  for (const auto& response : {authorize("", authorize_body("c")), authorize("wrong", authorize_body("c")),
                               authorize(suspended, authorize_body("c")), authorize(token, authorize_body("s")),
                               authorize("wrong", authorize_body("s")), authorize(provider_, authorize_body("c")),
                               authorize("", other_asset), authorize("wrong", authorize_body("../c"))}) {
    EXPECT_EQ(response.status, expected.status);
    EXPECT_EQ(response.body, expected.body);
  }
  const auto release = post("/api/v1/license/release", "wrong", R"({"contract_id":"c","lease_id":"l"})");
  EXPECT_EQ(release.body, expected.body);
  const auto challenge = post("/api/v1/license/challenge", "wrong", R"({"contract_id":"c"})");
  EXPECT_EQ(challenge.body, expected.body);
}

TEST_F(Authorize, RefusalsHaveTheirCodes) {
  const std::string token = create_contract("c");
  const auto reason = [&](const Json& body) { return text_of(authorize(token, body), "reason"); };
  EXPECT_EQ(reason(authorize_body("c")), "key_wrap_required");
  Json body = with_jwk("c", jose::PrivateKey::generate());
  body.set("asset_id", "n");
  EXPECT_EQ(reason(body), "asset_not_covered");
  body = with_jwk("c", jose::PrivateKey::generate());
  body.set("nonce", "made-up");
  EXPECT_EQ(reason(body), "nonce_invalid");
  EXPECT_EQ(authorize_new(token, "c").status, 200);
  EXPECT_EQ(text_of(authorize_new(token, "c"), "reason"), "seat_limit");
  post("/api/v1/contracts/c/suspend", provider_);
  EXPECT_EQ(text_of(authorize_new(token, "c"), "reason"), "contract_suspended");
  post("/api/v1/contracts/c/resume", provider_);
  now_ += 86400000;
  EXPECT_EQ(text_of(authorize_new(token, "c"), "reason"), "contract_expired");
  post("/api/v1/contracts/c/revoke", provider_);
  EXPECT_EQ(text_of(authorize_new(token, "c"), "reason"), "contract_revoked");
}

TEST_F(Authorize, AChallengeServesOnce) {
  const std::string token = create_contract("c", member("max_seats", 5));
  const auto challenge = post("/api/v1/license/challenge", token, R"({"contract_id":"c"})");
  ASSERT_EQ(challenge.status, 200);
  Json body = with_jwk("c", jose::PrivateKey::generate());
  body.set("nonce", text_of(challenge, "nonce"));
  EXPECT_EQ(authorize(token, body).status, 200);
  body.set("key_release_jwk", jose::PrivateKey::generate().public_key().to_jwk());
  EXPECT_EQ(text_of(authorize(token, body), "reason"), "nonce_invalid");
}

TEST_F(Authorize, RenewalKeepsTheSeatAndCarriesNoKey) {
  const std::string token = create_contract("c");
  const std::string lease = text_of(authorize_new(token, "c"), "lease_id");
  now_ += 100000;
  Json renewal = authorize_body("c");
  renewal.set("lease_id", lease);
  const auto response = authorize(token, renewal);
  ASSERT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(text_of(response, "lease_id"), lease);
  EXPECT_EQ(text_of(response, "wrapped_key"), "(none)");
  EXPECT_EQ(text_of(response, "decryption_key_hex"), "(none)");
  renewal.set("hw_id", "another-machine");
  EXPECT_EQ(authorize(token, renewal).status, 403);
  renewal.set("hw_id", "hw-1");
  now_ += 300000;
  EXPECT_EQ(text_of(authorize(token, renewal), "reason"), "seat_limit") << "an expired lease is final";
  EXPECT_EQ(authorize_new(token, "c").status, 200) << "and its seat is free again";
}

TEST_F(Authorize, SuspensionReachesARenewalAtOnce) {
  const std::string token = create_contract("c");
  Json renewal = authorize_body("c");
  renewal.set("lease_id", text_of(authorize_new(token, "c"), "lease_id"));
  post("/api/v1/contracts/c/suspend", provider_);
  EXPECT_EQ(text_of(authorize(token, renewal), "reason"), "contract_suspended");
  post("/api/v1/contracts/c/resume", provider_);
  EXPECT_EQ(authorize(token, renewal).status, 200);
}

TEST_F(Authorize, ReleaseFreesTheSeat) {
  const std::string token = create_contract("c");
  const std::string lease = text_of(authorize_new(token, "c"), "lease_id");
  EXPECT_EQ(release(token, "c", lease).status, 200);
  EXPECT_EQ(release(token, "c", lease).status, 404);
  EXPECT_EQ(authorize_new(token, "c").status, 200);
}

// What the first implementation's sentinel sends, and all that it understands.
TEST_F(Authorize, AnOldSentinelGetsTheKeptFields) {
  deps_.allow_unauthenticated_sentinels = true;
  Json terms = member("authentication", "none");
  terms.set("key_release", "plain");
  EXPECT_EQ(create_contract("old", terms), "");
  const std::string request =
      R"({"contract_id":"old","asset_id":"m","hw_id":"host-1","attestation":null,"client_version":"0.0.1"})";
  const auto response = post("/api/v1/license/authorize", "", request);
  ASSERT_EQ(response.status, 200) << response.body;
  EXPECT_EQ(text_of(response, "status"), "authorized");
  EXPECT_EQ(text_of(response, "decryption_key_hex"), to_hex(key_.reveal()));
  EXPECT_EQ(text_of(response, "expires_at"), to_rfc3339(now_ + 3600000));
  const auto fetched = get(text_of(response, "sas_url").substr(std::string("https://cp.example").size()), "");
  EXPECT_EQ(bytes_of(fetched), ciphertext_);

  // It never renews: its URLs outlive lease_seconds, and the same machine gets its own seat back, another does not.
  now_ += 1000000;
  EXPECT_EQ(get(text_of(response, "manifest_url").substr(std::string("https://cp.example").size()), "").status, 200);
  EXPECT_EQ(post("/api/v1/license/authorize", "", request).status, 200);
  std::string other = request;
  other.replace(other.find("host-1"), 6, "host-2");
  EXPECT_EQ(text_of(post("/api/v1/license/authorize", "", other), "reason"), "seat_limit");

  int releases = 0;
  for (const auto& event : store_->list_events({}, -1, 1000)) {
    if (event.line.find("\"license_released\"") != std::string::npos) ++releases;
    EXPECT_EQ(event.line.find(to_hex(key_.reveal())), std::string::npos);
  }
  EXPECT_EQ(releases, 2);

  deps_.allow_unauthenticated_sentinels = false;
  EXPECT_EQ(text_of(post("/api/v1/license/authorize", "", request), "reason"), "authentication_required");
}

TEST_F(Authorize, UnauthenticatedContractsNeedTheOperatorsFlag) {
  Json body = Json::object();
  body.set("consumer", "acme");
  body.set("asset_ids", Json(Json::Array{"m"}));
  body.set("not_after", to_rfc3339(now_ + 1000));
  body.set("authentication", "none");
  EXPECT_EQ(text_of(post("/api/v1/contracts", provider_, body.dump()), "code"), "contract_invalid");
}

TEST_F(Authorize, ActivationTokensAreReplacedAndExpire) {
  const std::string first = create_contract("c", member("max_seats", 9));
  const auto replaced = post("/api/v1/contracts/c/activation-token", provider_, R"({"expires_in_seconds":60})");
  ASSERT_EQ(replaced.status, 200) << replaced.body;
  EXPECT_EQ(text_of(replaced, "control_plane_key"), to_base64url(keyring_.identity().public_key()));
  EXPECT_EQ(text_of(authorize_new(first, "c"), "reason"), "authentication_required");
  const std::string second = text_of(replaced, "activation_token");
  EXPECT_EQ(authorize_new(second, "c").status, 200);
  now_ += 60000;
  EXPECT_EQ(text_of(authorize_new(second, "c"), "reason"), "authentication_required");
}

TEST_F(Authorize, ClientCertificatesCountByFingerprint) {
  const std::string fingerprint(64, 'a');
  Json terms = member("authentication", "mtls");
  terms.set("client_certificates", Json(Json::Array{fingerprint}));
  create_contract("c", terms);
  const auto by = [&](const std::string& certificate, const std::string& token) {
    return call({.method = "POST",
                 .target = "/api/v1/license/authorize",
                 .token = token,
                 .body = with_jwk("c", jose::PrivateKey::generate()).dump(),
                 .headers = {{"DPoP", proof(new_sentinel(), "/api/v1/license/authorize", token)}},
                 .client_cert_sha256 = certificate});
  };
  EXPECT_EQ(text_of(by("", ""), "reason"), "authentication_required");
  EXPECT_EQ(text_of(by(std::string(64, 'b'), ""), "reason"), "authentication_required");
  EXPECT_EQ(text_of(by(fingerprint, "a-wrong-token"), "reason"), "authentication_required");
  EXPECT_EQ(by(fingerprint, "").status, 200);
}

TEST_F(Authorize, FirstHardwareWaitsForApproval) {
  const std::string token = create_contract("c", member("hardware", "pin_first"));
  EXPECT_EQ(text_of(authorize_new(token, "c"), "reason"), "enrolment_pending");
  Json other = with_jwk("c", jose::PrivateKey::generate());
  other.set("hw_id", "hw-2");
  const auto refused = authorize(token, other);
  EXPECT_EQ(text_of(refused, "reason"), "hardware_mismatch");
  EXPECT_EQ(refused.body.find("hw-1"), std::string::npos) << "the expected id must not be told";
  EXPECT_EQ(post("/api/v1/contracts/c/hardware", other_provider_, R"({"approve":"hw-2"})").status, 404);
  EXPECT_EQ(post("/api/v1/contracts/c/hardware", provider_, R"({"approve":"hw-1"})").status, 200);
  EXPECT_EQ(authorize_new(token, "c").status, 200);
  EXPECT_EQ(post("/api/v1/contracts/c/hardware", provider_, R"({"reset":true})").status, 200);
  EXPECT_EQ(text_of(authorize_new(token, "c"), "reason"), "enrolment_pending");
}

TEST_F(Authorize, AttestationThatIsAgreedIsRequired) {
  const std::string token = create_contract("c", member("attestation", "tpm"));
  EXPECT_EQ(text_of(authorize_new(token, "c"), "reason"), "attestation_required");
}

TEST_F(Authorize, NeverMoreSeatsThanSoldInALoop) {
  const std::string token = create_contract("c", member("max_seats", 2));
  std::atomic<int> granted{0}, full{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < 5; ++i) {
          const auto response = authorize_new(token, "c");
          if (response.status == 200) ++granted;
          if (response.status == 403) ++full;
        }
      });
    }
  }
  EXPECT_EQ(granted.load(), 2);
  EXPECT_EQ(full.load(), 18);
}

}  // namespace
}  // namespace tb::controlplane
