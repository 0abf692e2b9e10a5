// The ways to prove something of a machine, with a device and agents of the test's own.
// spec: wire 1.1, Evidence
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "attest/extended_report_test.h"
#include "attest/vector_file_test.h"
#include "jose/p256.h"
#include "jose/rs256.h"
#include "sentinel/evidence.h"
#include "sentinel/snp_prover.h"
#include "sentinel/token_prover.h"

namespace tb::sentinel {
namespace {

using testing::HasSubstr;
using testing::Not;

template <typename F>
Error error_of(F&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error;
  }
  return Error("internal", "nothing was thrown");
}

// ---- tokens ----

const Digest kDigest = sha256(std::string_view("a request"));

std::string token_of(const std::string& script, const std::stop_token& stop = {}, std::int64_t timeout_ms = 60'000) {
  return run_token_command({"/bin/sh", "-c", script}, kDigest, timeout_ms, stop);
}

TEST(TokenCommand, ReadsTheDigestAndPrintsTheToken) {
  EXPECT_EQ(token_of("read digest; echo head.$digest.tail"), "head." + to_hex(kDigest) + ".tail");
  EXPECT_EQ(token_of("echo what it does >&2; printf a.b.c"), "a.b.c");
}

TEST(TokenCommand, HasNoVariablesOfOurs) {
  setenv("TB_OF_OURS", "x", 1);
  setenv("SOME_SECRET", "x", 1);
  EXPECT_EQ(token_of("test -z \"$TB_OF_OURS$SOME_SECRET\" && echo a.b.c"), "a.b.c");
  unsetenv("TB_OF_OURS");
  unsetenv("SOME_SECRET");
}

TEST(TokenCommand, RefusesWhatIsNoToken) {
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"exit 3", "exit 3"},
      {"kill -9 $$", "signal 9"},
      {"echo a.b.c; exit 1", "exit 1"},
      {"true", "no token"},
      {"echo secret-words", "no token"},
      {"echo a.b.c; echo d.e.f", "no token"},
      {"echo ' a.b.c'", "no token"},
      {"echo a.b.c.d", "no token"},
      {"echo 'a.b.$'", "no token"},
      {"head -c 40000 /dev/zero | tr '\\0' a", "more than a token"},
      {"exec yes secret-words", "more than a token"},
  };
  for (const auto& [script, why] : bad) {
    const Error error = error_of([&] { token_of(script); });
    EXPECT_EQ(error.reason, "evidence_unavailable") << script;
    EXPECT_THAT(error.story(), HasSubstr(why)) << script;
    EXPECT_THAT(error.story(), Not(HasSubstr("secret-words"))) << "what it prints may be a credential";
  }
  EXPECT_EQ(
      token_of("echo a.b.$(head -c " + std::to_string(jose::kMaxTokenBytes - 4) + " /dev/zero | tr '\\0' a)").size(),
      jose::kMaxTokenBytes);
}

TEST(TokenCommand, IsEndedWhenItHangsAndWhenWeStop) {
  for (const char* script : {"exec sleep 600", "exec >&-; sleep 600"}) {
    EXPECT_THAT(error_of([&] { token_of(script, {}, 300); }).message, HasSubstr("too long")) << script;
    std::stop_source stop;
    stop.request_stop();
    EXPECT_EQ(error_of([&] { token_of(script, stop.get_token()); }).reason, "cancelled") << script;
  }
}

TEST(TokenCommand, ThatCannotBeRunIsAFaultOfTheEvidence) {
  const Error error = error_of([] { run_token_command({"/no/such/program"}, kDigest, 1000, {}); });
  EXPECT_EQ(error.reason, "evidence_unavailable");
  EXPECT_THAT(error.story(), HasSubstr("/no/such/program"));
}

// ---- SEV-SNP ----

class RecordedDevice : public SnpDevice {
 public:
  RecordedDevice(Bytes response, Bytes table, attest::SnpReportData& asked)
      : answer_{std::move(response), std::move(table)}, asked_(asked) {}
  Answer extended_report(const attest::SnpReportData& report_data) override {
    asked_ = report_data;
    return answer_;
  }

 private:
  Answer answer_;
  attest::SnpReportData& asked_;
};

const std::map<std::string, Json>& vectors() {
  static const auto all = attest::vectors_of("snp", "certificates");
  return all;
}

class Snp : public testing::Test {
 protected:
  static attest::SnpEvidence recorded(const std::string& name) {
    const auto parsed = attest::SnpEvidence::parse(*vectors().at(name).find("evidence"));
    EXPECT_TRUE(parsed.has_value());
    return *parsed;
  }
  SnpProver prover(const attest::SnpEvidence& machine, std::vector<Bytes> certificates, std::string path = "") {
    return {
        std::make_unique<RecordedDevice>(attest::response_of(machine.report), attest::table_of(certificates), asked_),
        std::move(path)};
  }
  attest::SnpReportData asked_{};
};

TEST_F(Snp, TheRecordedMachinesEvidenceIsAccepted) {
  for (const std::string name : {"good-milan-v2", "good-vlek", "good-turin-v3"}) {
    const Json& vector = vectors().at(name);
    const auto machine = recorded(name);
    const Digest digest = attest::request_digest(*vector.find("binding"));
    auto one = prover(machine, {machine.leaf, machine.intermediate});
    const Json evidence = one.prove({.digest = digest, .pcr_selection = {}, .config_sha256 = ""}, {});
    EXPECT_EQ(asked_, attest::snp_report_data(digest)) << "the report is over the digest and zeros";
    attest::SnpTrust trust;
    for (const Json& root : vector.find("roots")->as_array()) {
      trust.roots.push_back(
          value_or_throw(attest::Certificate::from_der(value_or_throw(from_base64url(root.as_string())))));
    }
    const auto verdict = attest::verify_snp(evidence, *vector.find("policy"), digest, trust,
                                            value_or_throw(from_rfc3339(vector.find("now")->as_string())));
    EXPECT_TRUE(verdict.has_value()) << name << verdict.error().detail();
  }
}

TEST_F(Snp, ReportsWhatAProviderPins) {
  const auto machine = recorded("good-milan-v2");
  const Json report = prover(machine, {machine.leaf, machine.intermediate}).report();
  EXPECT_EQ(report.find("measurement")->as_string(), to_hex(Bytes(48, 0xA1)));
  EXPECT_EQ(report.find("product")->as_string(), "Milan");
}

TEST_F(Snp, AFileOfCertificatesMustBeOne) {
  const auto machine = recorded("good-milan-v2");
  const std::string path = testing::TempDir() + "tb-certificates-" + random_token(8);
  const EvidenceTask task{.digest = {}, .pcr_selection = {}, .config_sha256 = ""};
  EXPECT_EQ(error_of([&] { prover(machine, {machine.leaf}).prove(task, {}); }).reason, "evidence_malformed");
  EXPECT_EQ(error_of([&] { prover(machine, {machine.leaf}, path).prove(task, {}); }).reason, "file_not_found");
  value_or_throw(write_file_atomically(path, "no certificates", 0600, false));
  EXPECT_EQ(error_of([&] { prover(machine, {machine.leaf}, path).prove(task, {}); }).reason, "certificate_malformed");
  std::filesystem::remove(path);
}

TEST_F(Snp, WithoutTheDeviceItSaysSo) {
  if (std::filesystem::exists("/dev/sev-guest")) GTEST_SKIP() << "this machine is an SEV-SNP guest";
  EXPECT_EQ(error_of([] { sev_guest_device()->extended_report({}); }).reason, "snp_unavailable");
}

// ---- what all have in common ----

class RecordingProver : public Prover {
 public:
  void enrol(const std::string& contract_id, const EvidencePost&, std::stop_token) override { enrolled = contract_id; }
  Json prove(const EvidenceTask& task, std::stop_token) override {
    digest = task.digest;
    Json json = Json::object();
    json.set("type", "test");
    return json;
  }
  Json report() override { return Json::object(); }

  std::string enrolled;
  Digest digest{};
};

TEST(Evidence, IsOverTheNonceTheKeyAndTheSettings) {
  auto owned = std::make_unique<RecordingProver>();
  RecordingProver& prover = *owned;
  EvidenceMaker maker(std::move(owned), std::string(64, 'c'));
  const auto key = jose::PrivateKey::generate();
  api::AuthorizeRequest request;
  request.contract_id = "c";
  request.asset_id = "m";
  request.key_release_jwk = key.public_key().to_jwk();
  const EvidencePost post = [](std::string_view path, const Json& body) {
    EXPECT_EQ(path, "/api/v1/license/challenge");
    EXPECT_EQ(body.find("contract_id")->as_string(), "c");
    http::ClientResponse answer;
    answer.status = 200;
    answer.body = R"({"nonce":"n","expires_at":"2030-01-01T00:00:00Z"})";
    return answer;
  };
  maker.add_to(request, false, post, {});
  EXPECT_EQ(prover.enrolled, "");
  EXPECT_EQ(request.nonce, "n");
  EXPECT_EQ(request.attestation->find("config_sha256")->as_string(), std::string(64, 'c'));
  Json binding = Json::object();
  for (const auto& [name, value] :
       std::initializer_list<std::pair<const char*, std::string>>{{"nonce", "n"},
                                                                  {"thumbprint", key.public_key().thumbprint()},
                                                                  {"contract_id", "c"},
                                                                  {"asset_id", "m"},
                                                                  {"lease_id", ""},
                                                                  {"config_sha256", std::string(64, 'c')}}) {
    binding.set(name, value);
  }
  EXPECT_EQ(prover.digest, attest::request_digest(binding));
  maker.add_to(request, true, post, {});
  EXPECT_EQ(prover.enrolled, "c");
}

TEST(Evidence, ARefusedChallengeIsNoEvidence) {
  EvidenceMaker maker(std::make_unique<RecordingProver>(), "");
  const auto reason_for = [&](int status, const std::string& body) {
    api::AuthorizeRequest request;
    request.contract_id = "c";
    return error_of([&] {
             maker.add_to(request, false,
                          [&](std::string_view, const Json&) {
                            http::ClientResponse answer;
                            answer.status = status;
                            answer.body = body;
                            return answer;
                          },
                          {});
           })
        .reason;
  };
  EXPECT_EQ(reason_for(403, R"({"status":"denied","reason":"contract_suspended"})"), "contract_suspended");
  EXPECT_EQ(reason_for(503, ""), "control_plane_unavailable");
  EXPECT_EQ(reason_for(404, ""), "control_plane_refused");
}

}  // namespace
}  // namespace tb::sentinel
