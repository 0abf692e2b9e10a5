// spec: docs/attestation-policies.md, snp
#include "attest/snp_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tb::attest {
namespace {

std::string refusal(std::string_view text) {
  try {
    validate_snp_policy(value_or_throw(Json::parse(text)));
  } catch (const Error& error) {
    EXPECT_EQ(error.reason, "contract_invalid");
    return error.message;
  }
  return "";
}

std::string with(const std::string& member) {
  return R"({"measurements":[")" + std::string(96, 'a') + R"("],)" + member + "}";
}

TEST(SnpPolicy, LeftOutMeansTheStrictChoice) {
  const auto policy = SnpPolicy::parse(value_or_throw(Json::parse(with(R"("minimum_guest_svn":2)"))));
  EXPECT_FALSE(policy.allow_smt);
  EXPECT_FALSE(policy.allow_migration_agent);
  EXPECT_EQ(policy.vmpls, std::vector<std::int64_t>{0});
  EXPECT_EQ(policy.keys, std::vector<SnpKey>{SnpKey::kVcek});
  EXPECT_EQ(policy.minimum_guest_svn, 2);
}

TEST(SnpPolicy, TakesEveryField) {
  const std::string h96 = std::string(96, '0');
  EXPECT_EQ(refusal(R"({"id_key_digests":[")" + h96 + R"("],"author_key_digests":[")" + h96 + R"("],"host_data":[")" +
                    std::string(64, 'b') + R"("],"chip_ids":[")" + std::string(128, 'c') +
                    R"("],"products":["Milan","Turin"],"keys":["vcek","vlek"],"vmpls":[0,3],)" +
                    R"("minimum_tcb":{"bootloader":1,"tee":0,"snp":255,"microcode":9,"fmc":1},"minimum_guest_svn":1,)" +
                    R"("allow_smt":true,"allow_migration_agent":true,"require_single_socket":true,)" +
                    R"("require_alias_check":true})"),
            "");
}

TEST(SnpPolicy, RefusesWhatItDoesNotUnderstand) {
  using testing::HasSubstr;
  EXPECT_THAT(refusal("[]"), HasSubstr("must be an object"));
  EXPECT_THAT(refusal("{}"), HasSubstr("measurements is missing"));
  EXPECT_THAT(refusal(R"({"measurements":[]})"), HasSubstr("leave it out"));
  EXPECT_THAT(refusal(R"({"measurements":"a"})"), HasSubstr("measurements must be a list"));
  EXPECT_THAT(refusal(R"({"measurements":["abc"]})"), HasSubstr("96 lower-case hex digits"));
  EXPECT_THAT(refusal(R"({"measurements":[")" + std::string(96, 'A') + R"("]})"), HasSubstr("lower-case"));
  EXPECT_THAT(refusal(R"({"measurements":[")" + std::string(96, 'a') + R"(",")" + std::string(96, 'a') + R"("]})"),
              HasSubstr("twice"));
  EXPECT_THAT(refusal(with(R"("allow_debug":true)")), HasSubstr("allow_debug is not known"));
  EXPECT_THAT(refusal(with(R"("allow_smt":1)")), HasSubstr("allow_smt must be true or false"));
  EXPECT_THAT(refusal(with(R"("allow_smt":null)")), HasSubstr("allow_smt must be true or false"));
  EXPECT_THAT(refusal(with(R"("vmpls":[4])")), HasSubstr("0 to 3"));
  EXPECT_THAT(refusal(with(R"("vmpls":["0"])")), HasSubstr("whole numbers"));
  EXPECT_THAT(refusal(with(R"("products":["Milan-B0"])")), HasSubstr("Milan, Genoa or Turin"));
  EXPECT_THAT(refusal(with(R"("keys":["VCEK"])")), HasSubstr("vcek or vlek"));
  EXPECT_THAT(refusal(with(R"("minimum_tcb":{"snp":256})")), HasSubstr("minimum_tcb.snp"));
  EXPECT_THAT(refusal(with(R"("minimum_tcb":{"svn":1})")), HasSubstr("minimum_tcb.svn is not known"));
  EXPECT_THAT(refusal(with(R"("minimum_guest_svn":-1)")), HasSubstr("minimum_guest_svn"));
  EXPECT_THAT(refusal(with(R"("minimum_guest_svn":1.5)")), HasSubstr("minimum_guest_svn"));
}

}  // namespace
}  // namespace tb::attest
