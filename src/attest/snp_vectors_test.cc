// Every vector of tests/vectors/snp through the verifier: good ones are accepted, and each forged one is refused by the
// check that it was made for and by no other.
#include <set>

#include "attest/snp_verify.h"
#include "attest/snp_vtpm.h"
#include "attest/vector_file_test.h"

namespace tb::attest {
namespace {

Bytes bytes_of(const Json& text) {
  return value_or_throw(from_base64url(text.as_string()));
}

SnpTrust trust_of(const Json& vector) {
  SnpTrust trust;
  for (const Json& root : vector.find("roots")->as_array()) {
    trust.roots.push_back(value_or_throw(Certificate::from_der(bytes_of(root))));
  }
  for (const Json& list : vector.find("revocations")->as_array()) {
    trust.revocations.push_back(value_or_throw(RevocationList::parse(as_text(bytes_of(list)))));
  }
  return trust;
}

Verdict verdict_of(const Json& vector) {
  return verify_snp(*vector.find("evidence"), *vector.find("policy"), request_digest(*vector.find("binding")),
                    trust_of(vector), value_or_throw(from_rfc3339(vector.find("now")->as_string())));
}

const std::map<std::string, Json>& vectors() {
  static const auto all = vectors_of("snp", "certificates");
  return all;
}

TEST(SnpVectors, EachIsAcceptedOrRefusedByItsOwnCheck) {
  std::size_t good = 0;
  std::size_t forged = 0;
  for (const auto& [name, vector] : vectors()) {
    SCOPED_TRACE(name);
    const std::string refused_by = vector.find("refused_by")->as_string();
    const Verdict verdict = verdict_of(vector);
    if (refused_by.empty()) {
      EXPECT_TRUE(verdict.has_value()) << verdict.error().id << ": " << verdict.error().mend;
      ++good;
    } else {
      ASSERT_FALSE(verdict.has_value());
      EXPECT_EQ(verdict.error().id, refused_by) << verdict.error().mend;
      EXPECT_FALSE(verdict.error().mend.empty());
      ++forged;
    }
  }
  EXPECT_GE(good, 13U);
  EXPECT_GE(forged, 95U);
}

TEST(SnpVectors, EveryCheckHasAForgeryThatItRefuses) {
  std::set<std::string> refusing;
  for (const auto& [name, vector] : vectors()) refusing.insert(vector.find("refused_by")->as_string());
  for (const char* id : {"evidence_form",
                         "snp_report_form",
                         "snp_signature_algorithm",
                         "snp_chain",
                         "snp_certificate_time",
                         "snp_revocation",
                         "snp_certificate_form",
                         "snp_key_kind",
                         "snp_product",
                         "snp_certificate_tcb",
                         "snp_chip",
                         "snp_signature",
                         "snp_binding",
                         "snp_debug",
                         "snp_migration_agent",
                         "snp_smt",
                         "snp_single_socket",
                         "snp_alias_check",
                         "snp_product_allowed",
                         "snp_key_allowed",
                         "snp_vmpl",
                         "snp_chip_allowed",
                         "snp_measurement",
                         "snp_host_data",
                         "snp_id_key",
                         "snp_author_key",
                         "snp_guest_svn",
                         "snp_tcb",
                         "snp_launch_tcb"}) {
    EXPECT_TRUE(refusing.contains(id)) << id;
  }
}

TEST(SnpVectors, WithoutRootsNothingIsAccepted) {
  for (const auto& [name, vector] : vectors()) {
    Json rootless = vector;
    rootless.set("roots", Json::array());
    EXPECT_FALSE(verdict_of(rootless).has_value()) << name;
  }
}

TEST(SnpVectors, AnyBitOfTheSignedPartOrTheSignatureCounts) {
  const Json good = vectors().at("good-milan-v2");
  const Bytes report = bytes_of(*good.find("evidence")->find("report"));
  for (std::size_t at = 0; at < kSnpReportBytes; at += 13) {
    Bytes changed = report;
    changed[at] ^= 0x10;
    Json vector = good;
    Json evidence = *good.find("evidence");
    evidence.set("report", to_base64url(changed));
    vector.set("evidence", evidence);
    EXPECT_FALSE(verdict_of(vector).has_value()) << "byte " << at;
  }
}

TEST(SnpVectors, ARefusalKeepsExpectedAndSeenApart) {
  const Verdict verdict = verdict_of(vectors().at("measurement-other"));
  ASSERT_FALSE(verdict.has_value());
  EXPECT_EQ(verdict.error().expected.as_string(), to_hex(Bytes(48, 0xA1)));
  EXPECT_TRUE(verdict.error().seen.as_string().starts_with("a2a2"));
  EXPECT_NE(verdict.error().detail().find("it showed a2a2"), std::string::npos) << "its own fact";
  EXPECT_EQ(verdict.error().detail().find("a1a1"), std::string::npos) << "the contract's";
}

TEST(SnpVectors, ClaimsNameTheMachine) {
  const Verdict verdict = verdict_of(vectors().at("good-turin-v3"));
  ASSERT_TRUE(verdict.has_value());
  EXPECT_EQ(verdict->facts.find("product")->as_string(), "Turin");
  EXPECT_EQ(verdict->facts.find("tcb")->find("fmc")->as_integer(), 2);
  EXPECT_EQ(verdict->facts.find("tcb")->find("bootloader")->as_integer(), 4);
  EXPECT_TRUE(verdict->token_id.empty());
}

TEST(SnpVectors, AReportVouchesForAVirtualTpmsKey) {
  std::size_t forged = 0;
  for (const auto& [name, vector] : vectors_of("snp-vtpm", "../snp/certificates")) {
    SCOPED_TRACE(name);
    const std::string refused_by = vector.find("refused_by")->as_string();
    const auto evidence = SnpEvidence::parse(*vector.find("evidence"));
    ASSERT_TRUE(evidence.has_value());
    const auto key = vouched_ak(*evidence, vector.find("runtime_data")->as_string(), vector.find("kid")->as_string(),
                                SnpPolicy::parse(*vector.find("policy")), trust_of(vector),
                                value_or_throw(from_rfc3339(vector.find("now")->as_string())));
    if (refused_by.empty()) {
      ASSERT_TRUE(key.has_value()) << key.error().id << ": " << key.error().mend;
      EXPECT_EQ(to_base64url(key->modulus()), vector.find("modulus")->as_string());
    } else {
      ASSERT_FALSE(key.has_value());
      EXPECT_EQ(key.error().id, refused_by) << key.error().mend;
      ++forged;
    }
  }
  EXPECT_GE(forged, 12U);
}

}  // namespace
}  // namespace tb::attest
