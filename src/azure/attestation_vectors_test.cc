// Every vector of tests/vectors/attestation-token through the verifier and the profile: good ones are accepted, and
// each forged one is refused by the check that it was made for and by no other.
#include <gmock/gmock.h>

#include <set>

#include "attest/vector_file_test.h"
#include "attest/verify_evidence.h"
#include "azure/attestation_profile.h"

namespace tb::azure {
namespace {

using attest::IssuerKeys;
using attest::Trust;
using attest::Verdict;

Trust trust_of(const Json& vector) {
  Trust trust;
  trust.token.profiles.emplace(kConfidentialVmProfile, confidential_vm_profile());
  for (const auto& [issuer, keys] : vector.find("issuers")->as_object()) {
    trust.token.issuers.emplace(issuer, std::make_shared<IssuerKeys>(jose::RsaKeySet::parse(keys.as_string())));
  }
  return trust;
}

Verdict verdict_of(const Json& vector) {
  return attest::verify_evidence("token", *vector.find("evidence"), *vector.find("policy"),
                                 attest::request_digest(*vector.find("binding")), trust_of(vector),
                                 value_or_throw(from_rfc3339(vector.find("now")->as_string())));
}

const std::map<std::string, Json>& vectors() {
  static const auto all = attest::vectors_of("attestation-token", "keys");
  return all;
}

TEST(TokenVectors, EachIsAcceptedOrRefusedByItsOwnCheck) {
  std::size_t good = 0;
  std::size_t forged = 0;
  for (const auto& [name, vector] : vectors()) {
    SCOPED_TRACE(name);
    const std::string refused_by = vector.find("refused_by")->as_string();
    const Verdict verdict = verdict_of(vector);
    if (refused_by.empty()) {
      EXPECT_TRUE(verdict.has_value()) << verdict.error().id << ": " << verdict.error().mend;
      if (verdict) EXPECT_FALSE(verdict->token_id.empty());
      ++good;
    } else {
      ASSERT_FALSE(verdict.has_value());
      EXPECT_EQ(verdict.error().id, refused_by) << verdict.error().mend;
      EXPECT_FALSE(verdict.error().mend.empty());
      ++forged;
    }
  }
  EXPECT_GE(good, 9U);
  EXPECT_GE(forged, 80U);
}

TEST(TokenVectors, EveryCheckHasAForgeryThatItRefuses) {
  std::set<std::string> refusing;
  for (const auto& [name, vector] : vectors()) refusing.insert(vector.find("refused_by")->as_string());
  for (const char* id : {"evidence_form",
                         "token_form",
                         "token_algorithm",
                         "token_key",
                         "token_signature",
                         "token_issuer",
                         "token_issuer_unknown",
                         "token_time",
                         "token_id",
                         "token_binding",
                         "token_claim",
                         "token_version",
                         "token_machine_kind",
                         "token_secure_boot",
                         "token_debuggers",
                         "token_tee_kind",
                         "token_compliance",
                         "token_debuggable",
                         "token_migration",
                         "token_vmpl",
                         "token_smt",
                         "token_console",
                         "token_launch_measurement",
                         "token_id_key",
                         "token_host_data",
                         "token_policy_hash",
                         "token_vm",
                         "token_svn"}) {
    EXPECT_TRUE(refusing.contains(id)) << id;
  }
}

TEST(TokenVectors, TheTokensIdIsToldForTheRecord) {
  const Verdict verdict = verdict_of(vectors().at("good"));
  ASSERT_TRUE(verdict.has_value());
  EXPECT_EQ(verdict->token_id, "5f1c-the-token-s-own-id");
}

std::string refusal(std::string_view options) {
  Json policy = Json::object();
  policy.set("issuer", "https://shared.weu.attest.test");
  policy.set("profile", "azure-cvm");
  policy.set("options", value_or_throw(Json::parse(options)));
  try {
    attest::validate_attestation_policy("token", policy, trust_of(vectors().at("good")));
  } catch (const Error& error) {
    EXPECT_EQ(error.reason, "contract_invalid");
    return error.message;
  }
  return "";
}

TEST(ConfidentialVmProfile, RefusesOptionsThatItDoesNotUnderstand) {
  using testing::HasSubstr;
  const std::string set = R"("launch_measurements":[")" + std::string(96, 'a') + R"("],)";
  EXPECT_EQ(refusal("{" + set + R"("allow_smt":true})"), "");
  EXPECT_THAT(refusal("{}"), HasSubstr("launch_measurements is missing"));
  EXPECT_THAT(refusal(R"({"launch_measurements":["AA"]})"), HasSubstr("hex digits"));
  EXPECT_THAT(refusal("{" + set + R"("allow_debug":true})"), HasSubstr("allow_debug is not known"));
  EXPECT_THAT(refusal("{" + set + R"("vmpls":[]})"), HasSubstr("vmpls"));
  EXPECT_THAT(refusal("{" + set + R"("minimum_svn":{"fmc":1}})"), HasSubstr("minimum_svn.fmc is not known"));
  EXPECT_THAT(refusal("{" + set + R"("minimum_svn":{"tee":"1"}})"), HasSubstr("minimum_svn.tee"));
}

}  // namespace
}  // namespace tb::azure
