// Who holds a lease, and how that is shown: sentinel keys, renewal tokens, grants.
// spec: wire 1.0, 1.1; RFC 9449
#include <gtest/gtest.h>

#include "api/grant.h"
#include "controlplane/service_test.h"
#include "jose/proof.h"
#include "jose/statement.h"

namespace tb::controlplane {
namespace {

constexpr const char* kAuthorize = "/api/v1/license/authorize";

class LeaseProtocol : public ServiceTest {
 protected:
  LeaseProtocol() { register_asset("m"); }

  Json first_body(const std::string& contract_id = "c") const {
    Json body = authorize_body(contract_id);
    body.set("key_release_jwk", jose::PrivateKey::generate().public_key().to_jwk());
    return body;
  }
  Json renewal_body(const std::string& lease_id) const {
    Json body = authorize_body("c");
    body.set("lease_id", lease_id);
    return body;
  }
  std::string lease_of(const SentinelKey& key, const std::string& token) {
    const auto response = authorize_as(key, token, first_body());
    EXPECT_EQ(response.status, 200) << response.body;
    return text_of(response, "lease_id");
  }
  http::Response authorize_with(const std::string& token, const std::string& proof, const Json& body) {
    http::Headers headers;
    if (!proof.empty()) headers.set("DPoP", proof);
    return call({.method = "POST", .target = kAuthorize, .token = token, .body = body.dump(), .headers = headers});
  }
  std::int64_t events_of(const std::string& type) {
    std::int64_t count = 0;
    for (const auto& event : store_->list_events({}, -1, 1000)) {
      if (event.line.find("\"type\":\"" + type + "\"") != std::string::npos) ++count;
    }
    return count;
  }
  static Json seats(int count) {
    Json json = Json::object();
    json.set("max_seats", count);
    return json;
  }
};

TEST_F(LeaseProtocol, AStolenTokenMovesNoLease) {
  const std::string token = create_contract("c");
  const auto key = new_sentinel();
  const std::string lease = lease_of(key, token);
  const auto thief = new_sentinel();
  Json renewal = renewal_body(lease);
  EXPECT_EQ(text_of(authorize_as(thief, token, renewal), "reason"), "seat_limit");
  EXPECT_EQ(text_of(authorize_with(token, "", renewal), "reason"), "client_too_old");
  EXPECT_EQ(text_of(post_as(thief, "/api/v1/license/release", token, api::ReleaseRequest{"c", lease}.to_json().dump()),
                    "code"),
            "lease_not_found");
  EXPECT_EQ(text_of(post("/api/v1/license/release", token, api::ReleaseRequest{"c", lease}.to_json().dump()), "reason"),
            "client_too_old");
  EXPECT_EQ(text_of(authorize_as(thief, token, first_body()), "reason"), "seat_limit") << "and takes no seat";
  EXPECT_EQ(authorize_as(key, token, renewal).status, 200) << "its owner goes on";
}

TEST_F(LeaseProtocol, ProofsThatAreNotOfThisRequestAreRefused) {
  const std::string token = create_contract("c");
  const auto key = new_sentinel();
  const auto claims = [&] {
    return jose::ProofClaims{.method = "POST",
                             .url = "https://cp.example" + std::string(kAuthorize),
                             .issued_at_seconds = now_ / 1000,
                             .jti = random_token(16),
                             .token = token};
  };
  const auto code = [&](const jose::ProofClaims& c) {
    const auto response = authorize_with(token, jose::sign_proof(*key, c), first_body());
    return response.status == 401 ? text_of(response, "code") : response.body;
  };
  auto c = claims();
  c.url = "https://cp.example/api/v1/license/release";
  EXPECT_EQ(code(c), "proof_refused");
  c = claims();
  c.url = "https://other.example" + std::string(kAuthorize);
  EXPECT_EQ(code(c), "proof_refused");
  c = claims();
  c.method = "GET";
  EXPECT_EQ(code(c), "proof_refused");
  c = claims();
  c.token = "another";
  EXPECT_EQ(code(c), "proof_refused");
  c = claims();
  c.issued_at_seconds -= 3600;
  EXPECT_EQ(code(c), "proof_stale");
  EXPECT_EQ(text_of(authorize_with(token, "not.a.proof", first_body()), "code"), "proof_refused");
  http::Headers two;
  two.add("DPoP", jose::sign_proof(*key, claims()));
  two.add("DPoP", jose::sign_proof(*key, claims()));
  EXPECT_EQ(
      text_of(
          call({.method = "POST", .target = kAuthorize, .token = token, .body = first_body().dump(), .headers = two}),
          "code"),
      "proof_refused");
  EXPECT_TRUE(store_->list_leases("t1", "c", "", 10).empty());
  // Behind a proxy: the public URL has another name, port and path than the listener.
  public_url_.set("https://edge.example/tb");
  c = claims();
  c.url = "https://EDGE.example:443/tb" + std::string(kAuthorize);
  EXPECT_EQ(authorize_with(token, jose::sign_proof(*key, c), first_body()).status, 200);
}

TEST_F(LeaseProtocol, WithoutACredentialAProofMakesNoDifference) {
  create_contract("c");
  const auto expected = authorize_with("", "", first_body());
  EXPECT_EQ(text_of(expected, "reason"), "authentication_required");
  EXPECT_EQ(authorize_with("wrong", "not.a.proof", first_body()).body, expected.body);
  EXPECT_EQ(authorize_as(new_sentinel(), "wrong", first_body()).body, expected.body);
}

TEST_F(LeaseProtocol, ARecordedRequestSentAgainDoesNothing) {
  const std::string token = create_contract("c", seats(3));
  const auto key = new_sentinel();
  const std::string recorded = proof(key, kAuthorize, token);
  EXPECT_EQ(authorize_with(token, recorded, first_body()).status, 200);
  EXPECT_EQ(text_of(authorize_with(token, recorded, first_body()), "code"), "proof_replayed");
  EXPECT_EQ(store_->list_leases("t1", "c", "", 10).size(), 1U);
}

TEST_F(LeaseProtocol, EveryAnswerCarriesTheNextRenewalToken) {
  const std::string token = create_contract("c");
  const auto key = new_sentinel();
  const auto first = authorize_as(key, token, first_body());
  const std::string lease = text_of(first, "lease_id");
  Json body = renewal_body(lease);
  body.set("renewal_token", text_of(first, "renewal_token"));
  const auto second = authorize_as(key, token, body);
  ASSERT_EQ(second.status, 200) << second.body;
  EXPECT_NE(text_of(second, "renewal_token"), text_of(first, "renewal_token"));
  const auto repeated = authorize_as(key, token, body);
  EXPECT_EQ(repeated.status, 200) << "the answer may have been lost";
  body.set("renewal_token", text_of(repeated, "renewal_token"));
  EXPECT_EQ(authorize_as(key, token, body).status, 200);
  body.erase("renewal_token");
  EXPECT_EQ(text_of(authorize_with(token, proof(key, kAuthorize, token), body), "code"), "field_missing");
  for (const auto& event : store_->list_events({}, -1, 1000)) {
    EXPECT_EQ(event.line.find(text_of(first, "renewal_token")), std::string::npos);
  }
}

TEST_F(LeaseProtocol, TwoThatShareALeaseLoseIt) {
  const std::string token = create_contract("c");
  const auto key = new_sentinel();
  const auto first = authorize_as(key, token, first_body());
  Json copied = renewal_body(text_of(first, "lease_id"));
  copied.set("renewal_token", text_of(first, "renewal_token"));
  EXPECT_EQ(authorize(token, renewal_body(text_of(first, "lease_id"))).status, 200);
  EXPECT_EQ(authorize(token, renewal_body(text_of(first, "lease_id"))).status, 200);
  const auto denied = authorize_as(key, token, copied);
  EXPECT_EQ(denied.status, 403);
  EXPECT_EQ(text_of(denied, "reason"), "lease_cloned");
  EXPECT_EQ(events_of("lease_cloned"), 1);
  EXPECT_EQ(text_of(authorize(token, renewal_body(text_of(first, "lease_id"))), "reason"), "lease_cloned");
  EXPECT_EQ(text_of(get("/api/v1/contracts/c/leases", provider_), "items").find("\"active\""), std::string::npos);
}

TEST_F(LeaseProtocol, AKilledSentinelHasItsSeatBackAtOnce) {
  const std::string token = create_contract("c");
  const auto key = new_sentinel();
  const std::string before = lease_of(key, token);
  const std::string after = lease_of(key, token);
  EXPECT_NE(before, after);
  EXPECT_EQ(text_of(authorize_as(new_sentinel(), token, first_body()), "reason"), "seat_limit");
  EXPECT_EQ(events_of("lease_superseded"), 1);
  EXPECT_EQ(text_of(authorize(token, renewal_body(before)), "reason"), "lease_cloned")
      << "two of one key at the same time";
  EXPECT_EQ(authorize(token, renewal_body(after)).status, 200);
}

TEST_F(LeaseProtocol, SeatLimitSaysWhenToAskAgain) {
  const std::string token = create_contract("c");
  lease_of(new_sentinel(), token);
  now_ += 60000;
  const auto denied = authorize_as(new_sentinel(), token, first_body());
  EXPECT_EQ(text_of(denied, "reason"), "seat_limit");
  EXPECT_EQ(text_of(denied, "retry_after_seconds"), "240");
  EXPECT_EQ(denied.headers.get("Retry-After"), "240");
  now_ += 240000;
  EXPECT_EQ(authorize_as(new_sentinel(), token, first_body()).status, 200);
}

TEST_F(LeaseProtocol, TheOldestClientIsTheContractsChoice) {
  const std::string token = create_contract("c");
  const std::string lease = text_of(authorize(token, first_body()), "lease_id");
  EXPECT_EQ(call({.method = "PATCH",
                  .target = "/api/v1/contracts/c",
                  .token = provider_,
                  .body = R"({"min_client_version":"99.0.0"})"})
                .status,
            200);
  EXPECT_EQ(text_of(authorize(token, first_body()), "reason"), "client_too_old");
  EXPECT_EQ(text_of(authorize(token, renewal_body(lease)), "reason"), "client_too_old");
  EXPECT_EQ(call({.method = "PATCH",
                  .target = "/api/v1/contracts/c",
                  .token = provider_,
                  .body = R"({"min_client_version":"newest"})"})
                .status,
            400);
}

TEST_F(LeaseProtocol, TheGrantIsSignedOverTheAnswerAndItsRequest) {
  Json terms = Json::object();
  terms.set("allowed_paths", Json(Json::Array{"/v1/models"}));
  const std::string token = create_contract("c", terms);
  const auto key = new_sentinel();
  const auto one_time = jose::PrivateKey::generate();
  Json body = authorize_body("c");
  body.set("key_release_jwk", one_time.public_key().to_jwk());
  const std::string jti = random_token(16);
  const std::string sent = jose::sign_proof(*key, {.method = "POST",
                                                   .url = "https://cp.example" + std::string(kAuthorize),
                                                   .issued_at_seconds = now_ / 1000,
                                                   .jti = jti,
                                                   .token = token});
  const auto response = authorize_with(token, sent, body);
  ASSERT_EQ(response.status, 200) << response.body;
  const auto grant = api::LeaseGrant::parse(
      jose::verify(keyring_.identity().public_key(), api::kGrantType, text_of(response, "grant")));
  EXPECT_EQ(grant.contract_id, "c");
  EXPECT_EQ(grant.asset_id, "m");
  EXPECT_EQ(grant.lease_id, text_of(response, "lease_id"));
  EXPECT_EQ(grant.policy_version, 1);
  EXPECT_EQ(grant.policy.allowed_paths, std::vector<std::string>{"/v1/models"});
  EXPECT_EQ(grant.url_origins, std::vector<std::string>{"https://cp.example"});
  EXPECT_EQ(grant.key_thumbprint, one_time.public_key().thumbprint());
  EXPECT_EQ(grant.proof_jti, jti);
  EXPECT_EQ(grant.issued_at, now_);
  EXPECT_EQ(grant.expires_at, now_ + 300000);
  EXPECT_EQ(text_of(response, "grant").find("sig="), std::string::npos);
}

// The first implementation's sentinel by certificate, under terms that make room for it.
TEST_F(LeaseProtocol, WhoSendsNoProofLivesAsBeforeWherePlainIsAgreed) {
  Json terms = Json::object();
  terms.set("key_release", "plain");
  const std::string token = create_contract("c", terms);
  const auto first = authorize_with(token, "", authorize_body("c"));
  ASSERT_EQ(first.status, 200) << first.body;
  const std::string lease = text_of(first, "lease_id");
  EXPECT_EQ(authorize_with(token, "", renewal_body(lease)).status, 200) << "a renewal without a token";
  Json with_proof = renewal_body(lease);
  with_proof.set("renewal_token", text_of(first, "renewal_token"));
  EXPECT_EQ(text_of(authorize_as(new_sentinel(), token, with_proof), "reason"), "seat_limit");
  EXPECT_EQ(post("/api/v1/license/release", token, api::ReleaseRequest{"c", lease}.to_json().dump()).status, 200);
}

}  // namespace
}  // namespace tb::controlplane
