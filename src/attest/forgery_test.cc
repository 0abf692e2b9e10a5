// Every file of tests/vectors/tpm goes through the verifier, and exactly the check that it names must refuse it. The
// files are made by tests/vectors/tpm_forgeries.py; index.txt says which there must be.
#include <gtest/gtest.h>

#include <filesystem>
#include <set>
#include <sstream>

#include "attest/crypto_keys.h"
#include "attest/enrolment.h"
#include "attest/quote.h"
#include "base/fs.h"

namespace tb::attest {
namespace {

constexpr int kLeastForgeries = 90;
const std::string kFolder = TB_SOURCE_DIR "/tests/vectors/tpm";

Json file(const std::string& name) {
  return value_or_throw(Json::parse(value_or_throw(read_small_file(kFolder + "/" + name + ".json"))));
}

const Json& at(const Json& json, std::string_view name) {
  const Json* member = json.find(name);
  if (member == nullptr) throw Error("field_missing", "the file lacks " + std::string(name));
  return *member;
}

Bytes bytes_at(const Json& json, std::string_view name) {
  return value_or_throw(from_base64url(at(json, name).as_string()));
}

std::vector<std::string> names() {
  std::istringstream lines(value_or_throw(read_small_file(kFolder + "/index.txt")));
  std::vector<std::string> out;
  for (std::string line; std::getline(lines, line);) out.push_back(line);
  return out;
}

template <typename T>
std::string outcome(const Verified<T>& checked) {
  return checked ? std::string() : std::string(checked.error().id);
}

std::string check_quote_file(const Json& json) {
  const Json& asked = at(json, "question");
  const auto text = [&](std::string_view name) { return at(asked, name).as_string(); };
  const api::EvidenceQuestion about{.nonce = text("nonce"),
                                    .thumbprint = text("thumbprint"),
                                    .contract_id = text("contract_id"),
                                    .asset_id = text("asset_id"),
                                    .lease_id = text("lease_id"),
                                    .config_sha256 = text("config_sha256")};
  QuoteQuestion question{.ek = value_or_throw(parse_public(bytes_at(json, "ek_public"))),
                         .ak = value_or_throw(parse_public(bytes_at(json, "ak_public"))),
                         .qualifier = about.qualifier(),
                         .last = {}};
  if (const Json* last = json.find("last")) {
    question.last = api::TpmClock{.reset_count = at(*last, "reset_count").as_integer(),
                                  .restart_count = at(*last, "restart_count").as_integer(),
                                  .clock_ms = at(*last, "clock_ms").as_integer()};
  }
  api::TpmEvidence evidence;
  try {
    evidence = api::TpmEvidence::from_json(at(json, "evidence"));
  } catch (const Error&) {
    return "evidence_form";
  }
  return outcome(check_quote(evidence, question, api::TpmPolicy::from_json(at(json, "policy"))));
}

std::string check_enrolment_file(const Json& json) {
  api::EnrolRequest request;
  request.ek_public = bytes_at(json, "ek_public");
  request.ak_public = bytes_at(json, "ak_public");
  request.ek_certificate = bytes_at(json, "ek_certificate");
  for (const Json& one : at(json, "ek_intermediates").as_array()) {
    request.ek_intermediates.push_back(value_or_throw(from_base64url(one.as_string())));
  }
  return outcome(check_enrolment(request, api::TpmPolicy::from_json(at(json, "policy")), at(json, "now").as_integer()));
}

class Forgery : public testing::TestWithParam<std::string> {};

TEST_P(Forgery, IsRefusedByTheCheckThatItNames) {
  const Json json = file(GetParam());
  const bool quote = at(json, "kind").as_string() == "quote";
  EXPECT_EQ(quote ? check_quote_file(json) : check_enrolment_file(json), at(json, "check").as_string())
      << at(json, "says").as_string();
}

std::string test_name(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  std::ranges::replace(name, '-', '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Corpus, Forgery, testing::ValuesIn(names()), test_name);

TEST(Corpus, HasEveryFileOfItsIndexAndNoOther) {
  const auto listed = names();
  std::set<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    if (entry.path().extension() == ".json") found.insert(entry.path().stem());
  }
  EXPECT_EQ(found, std::set<std::string>(listed.begin(), listed.end()));
}

TEST(Corpus, HasAForgeryForEveryCheckOfTheVerifier) {
  std::set<std::string> refused;
  int forgeries = 0;
  for (const auto& name : names()) {
    const std::string check = at(file(name), "check").as_string();
    forgeries += check.empty() ? 0 : 1;
    refused.insert(check);
  }
  EXPECT_GE(forgeries, kLeastForgeries);
  for (const auto& row : tpm_checks()) {
    // These two are of the exchange with the control plane: controlplane/handle_enrol_test.cc has them.
    if (row.id == "credential" || row.id == "ak_enrolled") continue;
    EXPECT_TRUE(refused.contains(std::string(row.id))) << row.id;
  }
}

TEST(Parsers, GiveBackTheBytesThatTheyRead) {
  for (const auto& name : names()) {
    const Json json = file(name);
    for (const char* member : {"ek_public", "ak_public"}) {
      const Bytes bytes = bytes_at(json, member);
      if (const auto key = parse_public(bytes)) {
        EXPECT_EQ(encode(*key), bytes) << name;
      }
    }
  }
}

TEST(Parsers, RefuseEveryPrefixOfAKey) {
  const Bytes whole = bytes_at(file("good-rsa-ek-ecdsa-ak"), "ek_public");
  for (std::size_t bytes = 0; bytes < whole.size(); ++bytes) {
    EXPECT_FALSE(parse_public(ByteView(whole).first(bytes)));
  }
}

TEST(FailedCheck, TellsTheSentinelItsOwnFactAndNotWhatWasExpected) {
  const Json json = file("pcr-not-listed");
  const auto policy = api::TpmPolicy::from_json(at(json, "policy"));
  const auto failure = failed("pcr_values", "PCR 7 of sha256 is ab", "expected-secret", "ab").error();
  EXPECT_NE(failure.detail().find("pcr_values"), std::string::npos);
  EXPECT_NE(failure.detail().find("PCR 7 of sha256 is ab"), std::string::npos);
  EXPECT_EQ(failure.detail().find("expected-secret"), std::string::npos);
  EXPECT_FALSE(policy.pcrs.empty());
}

TEST(Clock, GoesOnOverResetsOnly) {
  EXPECT_TRUE(clock_goes_on({3, 1, 500}, {3, 1, 500}));
  EXPECT_TRUE(clock_goes_on({3, 1, 500}, {3, 2, 0}));
  EXPECT_TRUE(clock_goes_on({3, 1, 500}, {4, 0, 0}));
  EXPECT_FALSE(clock_goes_on({3, 1, 500}, {3, 1, 499}));
  EXPECT_FALSE(clock_goes_on({3, 1, 500}, {3, 0, 900}));
  EXPECT_FALSE(clock_goes_on({3, 1, 500}, {2, 9, 900}));
}

}  // namespace
}  // namespace tb::attest
