// spec: wire 1.2 and 1.3
#include "api/contract.h"

#include <gtest/gtest.h>

#include "api/asset.h"
#include "api/enforcement.h"
#include "api/lease.h"
#include "api/page.h"
#include "api/problem.h"

namespace tb::api {
namespace {

constexpr UnixMs kNow = 1800000000000;

Json minimal() {
  return value_or_throw(Json::parse(R"({"consumer":"acme","asset_ids":["m-1"],"not_after":"2030-01-01T00:00:00Z"})"));
}

std::string refusal(const Json& json) {
  try {
    CreateContractRequest::parse(json.dump(), kNow);
  } catch (const Error& error) {
    return error.message;
  }
  return "accepted";
}

std::string refusal(const char* name, Json value) {
  Json json = minimal();
  json.set(name, std::move(value));
  return refusal(json);
}

TEST(Contract, DefaultsAreThoseOfTheSpec) {
  const auto request = CreateContractRequest::parse(minimal().dump(), kNow);
  EXPECT_EQ(request.terms.not_before, kNow);
  EXPECT_EQ(request.terms.max_seats, 1);
  EXPECT_EQ(request.terms.key_release, "wrapped");
  EXPECT_EQ(request.terms.authentication, "token");
  EXPECT_EQ(request.terms.lease_seconds, 300);
  EXPECT_EQ(request.terms.offline_grace_seconds, 0);
  EXPECT_EQ(request.terms.hardware.mode, Hardware::Mode::kAny);
}

TEST(Contract, FaultsNameTheField) {
  EXPECT_THAT(refusal("consumer", ""), testing::HasSubstr("consumer"));
  EXPECT_THAT(refusal("asset_ids", Json::array()), testing::HasSubstr("asset_ids"));
  EXPECT_THAT(refusal("asset_ids", Json(Json::Array{"a", "a"})), testing::HasSubstr("twice"));
  EXPECT_THAT(refusal("asset_ids", Json(Json::Array{"a/b"})), testing::HasSubstr("asset_ids"));
  EXPECT_THAT(refusal("not_after", "2001-01-01T00:00:00Z"), testing::HasSubstr("later than not_before"));
  EXPECT_THAT(refusal("not_after", "soon"), testing::HasSubstr("not_after"));
  EXPECT_THAT(refusal("max_seats", 0), testing::HasSubstr("max_seats"));
  EXPECT_THAT(refusal("max_seats", -1), testing::HasSubstr("max_seats"));
  EXPECT_THAT(refusal("hardware", "some"), testing::HasSubstr("hardware"));
  EXPECT_THAT(refusal("hardware", Json::array()), testing::HasSubstr("hardware"));
  EXPECT_THAT(refusal("attestation", "sgx"), testing::HasSubstr("attestation"));
  EXPECT_THAT(refusal("key_release", "none"), testing::HasSubstr("key_release"));
  EXPECT_THAT(refusal("lease_seconds", 0), testing::HasSubstr("lease_seconds"));
  EXPECT_THAT(refusal("quotas", "x"), testing::HasSubstr("quotas"));
  EXPECT_THAT(refusal("allowed_paths", Json(Json::Array{"/a/../b"})), testing::HasSubstr("allowed_paths"));
  EXPECT_THAT(refusal("runtime_isolation", "maybe"), testing::HasSubstr("runtime_isolation"));
  EXPECT_THAT(refusal("attestation", "sgx"), testing::HasSubstr("attestation"));
  EXPECT_THAT(refusal("authentication", "basic"), testing::HasSubstr("authentication"));
  EXPECT_THAT(refusal("authentication", "mtls"), testing::HasSubstr("client_certificates"));
  EXPECT_THAT(refusal("client_certificates", Json(Json::Array{"AB"})), testing::HasSubstr("client_certificates"));
  EXPECT_THAT(refusal("contract_id", "a b"), testing::HasSubstr("contract_id"));
  EXPECT_THAT(refusal("tenant", "t"), testing::HasSubstr("tenant"));
  EXPECT_THAT(refusal("maximum_seats", 3), testing::HasSubstr("maximum_seats"));
}

TEST(Contract, PlainKeyAndAttestationCannotStandTogether) {
  Json json = minimal();
  json.set("key_release", "plain");
  EXPECT_EQ(refusal(json), "accepted");
  for (const char* kind : {"tpm", "snp", "token"}) {
    json.set("attestation", kind);
    EXPECT_THAT(refusal(json), testing::HasSubstr("attestation"));
  }
}

TEST(Contract, GradesOfHoldingBack) {
  for (const auto* grade : {"none", "warn", "throttle", "drain"}) EXPECT_EQ(refusal("enforcement", grade), "accepted");
  for (const auto* grade : {"", "suspend", "WARN"}) {
    EXPECT_NE(refusal("enforcement", grade).find("enforcement"), std::string::npos) << grade;
  }
  EXPECT_EQ(refusal("notice", std::string(300, 'x')), "accepted");
  for (const auto& notice : {std::string(301, 'x'), std::string("a\nb"), std::string("\xc3\xa4")}) {
    EXPECT_NE(refusal("notice", notice).find("notice"), std::string::npos);
  }
  EXPECT_NE(refusal("throttle_requests_per_minute", 0).find("throttle_requests_per_minute"), std::string::npos);
  EXPECT_EQ(refusal("throttle_requests_per_minute", 1), "accepted");
  EXPECT_EQ(grade_from("of a newer version"), Grade::kWarn) << "what is not understood holds nobody back";
  EXPECT_EQ(grade_from(""), Grade::kNone);
}

TEST(Contract, StateFollowsTheClock) {
  Contract contract;
  contract.terms.not_before = 1000;
  contract.terms.not_after = 2000;
  EXPECT_EQ(contract.effective_state(999), "not_started");
  EXPECT_EQ(contract.effective_state(1000), "active");
  EXPECT_EQ(contract.effective_state(1999), "active");
  EXPECT_EQ(contract.effective_state(2000), "expired");
  contract.state = ContractState::kSuspended;
  EXPECT_EQ(contract.effective_state(999), "suspended");
  contract.state = ContractState::kRevoked;
  EXPECT_EQ(contract.effective_state(5000), "revoked");
}

TEST(Contract, EveryTermSurvivesItsJson) {
  Contract contract;
  contract.contract_id = "c-1";
  contract.tenant = "t";
  auto& terms = contract.terms;
  terms = CreateContractRequest::parse(minimal().dump(), kNow).terms;
  terms.max_seats = 7;
  terms.hardware = {.mode = Hardware::Mode::kListed, .hw_ids = {"aa", "bb"}};
  terms.key_release = "plain";
  terms.lease_seconds = 3;
  terms.offline_grace_seconds = 4;
  terms.quotas.set("tokens", Json::object());
  terms.allow_finetune = true;
  terms.allowed_paths = {"/v1/models"};
  terms.runtime_isolation = "required";
  terms.authentication = "none";
  const Json json = contract.to_json(kNow);
  EXPECT_EQ(Contract::from_json(json).to_json(kNow).dump(), json.dump());
  EXPECT_EQ(terms_to_json(terms_from_json(terms_to_json(terms))).dump(), terms_to_json(terms).dump());
}

TEST(Contract, PatchChangesOnlyWhatItNames) {
  const auto terms = CreateContractRequest::parse(minimal().dump(), kNow).terms;
  const auto changed = patched(terms, R"({"max_seats":3})");
  EXPECT_EQ(changed.max_seats, 3);
  EXPECT_EQ(changed.consumer, "acme");
  EXPECT_THROW(patched(terms, R"({"contract_id":"x"})"), Error);
  EXPECT_THROW(patched(terms, R"({"state":"active"})"), Error);
  EXPECT_THROW(patched(terms, R"({"max_seats":0})"), Error);
  EXPECT_THROW(patched(terms, "[]"), Error);
}

TEST(RegisterRequest, CarriesExactlyOneKeyForm) {
  Json json = value_or_throw(Json::parse(
      R"({"asset_id":"m-1","blob_urls":{"ciphertext":"https://a/","manifest":"https://b/"},"metadata":{"format":"tbenc/v1",)"
      R"("algo":"aes-256-gcm-chunked","chunk_bytes":1024,"plaintext_bytes":0,"sha256_ciphertext":")" +
      std::string(64, 'A') + R"("},"unknown":1})"));
  EXPECT_THROW(RegisterRequest::parse(json.dump()), Error);
  json.set("decryption_key_hex", std::string(64, '1'));
  const auto request = RegisterRequest::parse(json.dump());
  EXPECT_EQ(request.metadata.sha256_ciphertext, std::string(64, 'a'));
  EXPECT_TRUE(request.decryption_key.has_value());
  json.set("wrapped_key", "a.b.c.d.e");
  EXPECT_THROW(RegisterRequest::parse(json.dump()), Error);
  json.erase("decryption_key_hex");
  EXPECT_EQ(RegisterRequest::parse(json.dump()).wrapped_key, "a.b.c.d.e");
  json.set("asset_id", "a/b");
  EXPECT_THROW(RegisterRequest::parse(json.dump()), Error);
  json.set("asset_id", "m-1");
  json.erase("metadata");
  EXPECT_THROW(RegisterRequest::parse(json.dump()), Error);
}

TEST(Lease, ShowsAsExpiredOnceItIs) {
  Lease lease;
  lease.lease_id = "l";
  lease.expires_at = 2000;
  EXPECT_EQ(lease.to_json(1999).find("state")->as_string(), "active");
  EXPECT_EQ(lease.to_json(2000).find("state")->as_string(), "expired");
  EXPECT_EQ(Lease::from_json(lease.to_json(1999)).expires_at, 2000);
  EXPECT_THROW(lease_state_from("gone"), Error);
}

TEST(Page, NeedsItems) {
  Page page;
  page.items.emplace_back("a");
  page.next_cursor = "n";
  EXPECT_EQ(Page::parse(page.to_json().dump()).next_cursor, "n");
  EXPECT_THROW(Page::parse("{}"), Error);
  EXPECT_THROW(Page::parse(R"({"items":{}})"), Error);
}

TEST(Problem, OtherBodiesAreNone) {
  const Problem problem{.status = 404, .code = "asset_not_found", .detail = "no such asset", .hint = "h"};
  const auto again = Problem::parse(problem.to_json().dump());
  EXPECT_EQ(again->to_error().exit_status(), 5);
  EXPECT_FALSE(Problem::parse("<html>").has_value());
  EXPECT_FALSE(Problem::parse("{}").has_value());
}

}  // namespace
}  // namespace tb::api
