// The table of cases: one row for each way a request can meet a contract.
#include "controlplane/policy.h"

#include <gtest/gtest.h>

#include "api/authorize.h"

namespace tb::controlplane {
namespace {

constexpr UnixMs kStart = 1800000000000;
constexpr UnixMs kEnd = kStart + 3600000;

api::Contract agreed() {
  api::Contract contract;
  contract.contract_id = "c";
  contract.tenant = "t";
  contract.terms.consumer = "acme";
  contract.terms.asset_ids = {"m"};
  contract.terms.not_before = kStart;
  contract.terms.not_after = kEnd;
  return contract;
}

Facts good_facts() {
  Facts facts;
  facts.now = kStart + 1000;
  facts.authenticated = true;
  facts.asset_id = "m";
  facts.asset_registered = true;
  facts.hw_id = "h1";
  facts.has_one_time_key = true;
  facts.proven = true;
  facts.client_version = "0.2.0";
  return facts;
}

struct PolicyCase {
  const char* name;
  const char* reason;  ///< "" where the request is granted
  std::function<void(api::Contract&, Facts&)> change;
};

// spec: wire 1.1, the codes that contract fields call for
const PolicyCase kCases[] = {
    {"all_is_well", "", [](api::Contract&, Facts&) {}},
    {"no_credential", "authentication_required", [](api::Contract&, Facts& f) { f.authenticated = false; }},
    {"no_credential_and_revoked", "authentication_required",
     [](api::Contract& c, Facts& f) {
       f.authenticated = false;
       c.state = api::ContractState::kRevoked;
     }},
    {"before_the_start", "contract_not_started", [](api::Contract&, Facts& f) { f.now = kStart - 1; }},
    {"at_the_start", "", [](api::Contract&, Facts& f) { f.now = kStart; }},
    {"last_moment", "", [](api::Contract&, Facts& f) { f.now = kEnd - 1; }},
    {"at_the_end", "contract_expired", [](api::Contract&, Facts& f) { f.now = kEnd; }},
    {"suspended", "contract_suspended", [](api::Contract& c, Facts&) { c.state = api::ContractState::kSuspended; }},
    {"suspended_renewal", "contract_suspended",
     [](api::Contract& c, Facts& f) {
       c.state = api::ContractState::kSuspended;
       f.is_renewal = true;
     }},
    {"revoked", "contract_revoked", [](api::Contract& c, Facts&) { c.state = api::ContractState::kRevoked; }},
    {"revoked_and_expired", "contract_revoked",
     [](api::Contract& c, Facts& f) {
       c.state = api::ContractState::kRevoked;
       f.now = kEnd;
     }},
    {"no_proof_of_a_key", "client_too_old", [](api::Contract&, Facts& f) { f.proven = false; }},
    {"no_proof_at_a_renewal", "client_too_old",
     [](api::Contract&, Facts& f) {
       f.proven = false;
       f.is_renewal = true;
     }},
    {"no_proof_by_certificate", "client_too_old",
     [](api::Contract& c, Facts& f) {
       c.terms.authentication = "mtls";
       f.proven = false;
     }},
    {"no_proof_where_plain_is_agreed", "",
     [](api::Contract& c, Facts& f) {
       c.terms.key_release = "plain";
       f.proven = false;
     }},
    {"no_proof_where_nobody_authenticates", "",
     [](api::Contract& c, Facts& f) {
       c.terms.authentication = "none";
       f.proven = false;
     }},
    {"older_than_the_contract_allows", "client_too_old",
     [](api::Contract& c, Facts&) { c.terms.min_client_version = "0.2.1"; }},
    {"older_by_its_prerelease", "client_too_old",
     [](api::Contract& c, Facts& f) {
       c.terms.min_client_version = "0.2.0";
       f.client_version = "0.2.0-rc.1";
     }},
    {"no_version_where_one_is_asked_for", "client_too_old",
     [](api::Contract& c, Facts& f) {
       c.terms.min_client_version = "0.0.1";
       f.client_version = "";
     }},
    {"as_old_as_the_contract_allows", "", [](api::Contract& c, Facts&) { c.terms.min_client_version = "0.2.0"; }},
    {"suspended_and_old", "contract_suspended",
     [](api::Contract& c, Facts& f) {
       c.state = api::ContractState::kSuspended;
       f.proven = false;
     }},
    {"asset_of_no_contract", "asset_not_covered", [](api::Contract&, Facts& f) { f.asset_id = "n"; }},
    {"asset_gone", "asset_not_covered", [](api::Contract&, Facts& f) { f.asset_registered = false; }},
    {"listed_hardware", "",
     [](api::Contract& c, Facts&) {
       c.terms.hardware = {.mode = api::Hardware::Mode::kListed, .hw_ids = {"h0", "h1"}};
     }},
    {"other_hardware", "hardware_mismatch",
     [](api::Contract& c, Facts&) { c.terms.hardware = {.mode = api::Hardware::Mode::kListed, .hw_ids = {"h0"}}; }},
    {"first_hardware_not_seen", "enrolment_pending",
     [](api::Contract& c, Facts&) { c.terms.hardware.mode = api::Hardware::Mode::kPinFirst; }},
    {"first_hardware_not_approved", "enrolment_pending",
     [](api::Contract& c, Facts& f) {
       c.terms.hardware.mode = api::Hardware::Mode::kPinFirst;
       f.pin = store::HardwarePin{.hw_id = "h1", .approved = false};
     }},
    {"first_hardware_approved", "",
     [](api::Contract& c, Facts& f) {
       c.terms.hardware.mode = api::Hardware::Mode::kPinFirst;
       f.pin = store::HardwarePin{.hw_id = "h1", .approved = true};
     }},
    {"second_hardware", "hardware_mismatch",
     [](api::Contract& c, Facts& f) {
       c.terms.hardware.mode = api::Hardware::Mode::kPinFirst;
       f.pin = store::HardwarePin{.hw_id = "h0", .approved = true};
     }},
    {"no_evidence", "attestation_required", [](api::Contract& c, Facts&) { c.terms.attestation = "tpm"; }},
    {"evidence_that_does_not_verify", "attestation_failed",
     [](api::Contract& c, Facts& f) {
       c.terms.attestation = "tpm";
       f.evidence_came = true;
     }},
    {"evidence_of_a_machine_that_waits", "enrolment_pending",
     [](api::Contract& c, Facts& f) {
       c.terms.attestation = "tpm";
       f.evidence_came = f.attested = true;
     }},
    {"bad_evidence_where_none_was_needed", "attestation_failed",
     [](api::Contract& c, Facts& f) {
       c.terms.attestation = "tpm";
       f.is_renewal = f.evidence_came = f.machine_approved = true;
       f.evidence_needed = false;
     }},
    {"a_machine_that_proved_itself", "",
     [](api::Contract& c, Facts& f) {
       c.terms.attestation = "tpm";
       f.evidence_came = f.attested = f.machine_approved = true;
     }},
    {"a_renewal_that_needs_no_evidence", "",
     [](api::Contract& c, Facts& f) {
       c.terms.attestation = "tpm";
       f.is_renewal = true;
       f.evidence_needed = false;
     }},
    {"bad_nonce", "nonce_invalid", [](api::Contract&, Facts& f) { f.nonce_valid = false; }},
    {"good_nonce", "", [](api::Contract&, Facts& f) { f.nonce_valid = true; }},
    {"quota_used_up", "quota_exhausted",
     [](api::Contract& c, Facts& f) {
       c.terms.quotas = value_or_throw(Json::parse(R"({"tokens":{"limit":10,"period":"day"}})"));
       f.used = {{"tokens", 10}};
     }},
    {"quota_not_used_up", "",
     [](api::Contract& c, Facts& f) {
       c.terms.quotas = value_or_throw(Json::parse(R"({"tokens":{"limit":10,"period":"day"}})"));
       f.used = {{"tokens", 9}};
     }},
    {"one_of_two_quotas_used_up", "quota_exhausted",
     [](api::Contract& c, Facts& f) {
       c.terms.quotas = value_or_throw(
           Json::parse(R"({"tokens":{"limit":10,"period":"day"},"requests":{"limit":1,"period":"total"}})"));
       f.used = {{"tokens", 9}, {"requests", 2}};
     }},
    {"quota_of_which_the_use_is_not_known", "quota_exhausted",
     [](api::Contract& c, Facts& f) {
       c.terms.quotas = value_or_throw(Json::parse(R"({"tokens":{"limit":10,"period":"day"}})"));
       f.used = {{"requests", 0}};
     }},
    {"renewal_with_quota_used_up", "quota_exhausted",
     [](api::Contract& c, Facts& f) {
       f.is_renewal = true;
       c.terms.quotas = value_or_throw(Json::parse(R"({"tokens":{"limit":0,"period":"total"}})"));
       f.used = {{"tokens", 0}};
     }},
    {"no_one_time_key", "key_wrap_required", [](api::Contract&, Facts& f) { f.has_one_time_key = false; }},
    {"no_one_time_key_where_plain_is_agreed", "",
     [](api::Contract& c, Facts& f) {
       f.has_one_time_key = false;
       c.terms.key_release = "plain";
     }},
    {"renewal_without_one_time_key", "",
     [](api::Contract&, Facts& f) {
       f.has_one_time_key = false;
       f.is_renewal = true;
     }},
};

class Policy : public testing::TestWithParam<PolicyCase> {};

TEST_P(Policy, DecidesAsTheContractSays) {
  api::Contract contract = agreed();
  Facts facts = good_facts();
  GetParam().change(contract, facts);
  const Decision decision = decide(contract, facts);
  EXPECT_EQ(decision.reason, GetParam().reason);
  EXPECT_EQ(decision.grant.has_value(), std::string_view(GetParam().reason).empty());
}

INSTANTIATE_TEST_SUITE_P(Cases, Policy, testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param.name); });

// Two codes are the store's to find out, one the metering's: the others are policy's, and each stands in the table.
TEST(PolicyCases, CoverEveryCodeThatPolicyCanGive) {
  for (const auto reason : api::denial_reasons()) {
    if (reason == "seat_limit" || reason == "lease_cloned" || reason == "quota_exhausted") continue;
    EXPECT_TRUE(std::ranges::any_of(kCases, [&](const PolicyCase& c) { return reason == c.reason; })) << reason;
  }
}

TEST(PolicyGrant, FactsThatNobodyGaveDenyEverything) {
  EXPECT_FALSE(decide(agreed(), Facts()).grant.has_value());
  EXPECT_FALSE(decide(api::Contract(), good_facts()).grant.has_value());
}

TEST(PolicyGrant, TheKeyComesOnlyInTheFormThatWasAgreed) {
  api::Contract contract = agreed();
  Facts facts = good_facts();
  EXPECT_EQ(decide(contract, facts).grant->key, KeyForm::kWrapped);
  facts.is_renewal = true;
  EXPECT_EQ(decide(contract, facts).grant->key, KeyForm::kWrapped);
  facts.has_one_time_key = false;
  EXPECT_EQ(decide(contract, facts).grant->key, KeyForm::kNone);
  contract.terms.key_release = "plain";
  EXPECT_EQ(decide(contract, facts).grant->key, KeyForm::kNone) << "a renewal carries no key";
  facts.is_renewal = false;
  EXPECT_EQ(decide(contract, facts).grant->key, KeyForm::kPlain);
  facts.has_one_time_key = true;
  EXPECT_EQ(decide(contract, facts).grant->key, KeyForm::kWrapped) << "a one-time key is always honoured";
}

TEST(PolicyGrant, NothingOutlivesTheContract) {
  api::Contract contract = agreed();
  Facts facts = good_facts();
  auto grant = *decide(contract, facts).grant;
  EXPECT_EQ(grant.lease_expires_at, facts.now + 300000);
  EXPECT_EQ(grant.renew_after_seconds, 100);
  EXPECT_EQ(grant.seat_until, grant.lease_expires_at);
  EXPECT_EQ(grant.urls_expire_at, kEnd) << "an hour from now is after the end";

  contract.terms.offline_grace_seconds = 60;
  facts.now = kEnd - 100000;
  grant = *decide(contract, facts).grant;
  EXPECT_EQ(grant.lease_expires_at, kEnd - 60000);
  EXPECT_EQ(grant.seat_until, kEnd);
  facts.now = kEnd - 1000;
  grant = *decide(contract, facts).grant;
  EXPECT_LE(grant.lease_expires_at, kEnd);
  EXPECT_LE(grant.seat_until, kEnd);
  EXPECT_GE(grant.renew_after_seconds, 1);
}

TEST(PolicyGrant, AnUnauthenticatedSentinelHoldsItsSeatAsLongAsItsUrls) {
  api::Contract contract = agreed();
  contract.terms.authentication = "none";
  Facts facts = good_facts();
  facts.url_seconds = 1800;
  EXPECT_EQ(decide(contract, facts).grant->seat_until, facts.now + 1800000);
}

TEST(PolicyDenial, EveryCodeHasOneSentenceThatHelps) {
  for (const auto reason : api::denial_reasons()) {
    const std::string detail(denial_detail(reason));
    EXPECT_TRUE(detail.ends_with(".")) << reason;
    EXPECT_NE(detail.find(':'), std::string::npos) << reason << " does not say how to mend it";
  }
}

}  // namespace
}  // namespace tb::controlplane
