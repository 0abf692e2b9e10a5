// spec: wire 1.6; docs/attestation-policies.md
#include "controlplane/attestation_trust.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/crypto.h"

namespace tb::controlplane {
namespace {

using testing::HasSubstr;

class AttestationTrust : public testing::Test {
 protected:
  AttestationTrust() { std::filesystem::create_directories(dir_); }
  ~AttestationTrust() override { std::filesystem::remove_all(dir_); }

  std::string file(const std::string& name, const std::string& text) {
    std::ofstream(dir_ + name) << text;
    return dir_ + name;
  }
  static std::string pem(std::string_view label, std::string_view shared) {
    const std::string path = std::string(TB_SOURCE_DIR) + "/tests/vectors/snp/certificates.json";
    const Json json = value_or_throw(Json::parse(value_or_throw(read_text(path))));
    const std::string body = to_base64(value_or_throw(from_base64url(json.find(shared)->as_string())));
    std::string lines;
    for (std::size_t at = 0; at < body.size(); at += 64) lines += body.substr(at, 64) + "\n";
    return "-----BEGIN " + std::string(label) + "-----\n" + lines + "-----END " + std::string(label) + "-----\n";
  }
  static Result<std::string> read_text(const std::string& path) {
    std::ifstream in(path);
    return std::string(std::istreambuf_iterator<char>(in), {});
  }
  static std::string key_set(std::string_view kid) {
    return R"({"keys":[{"kty":"RSA","e":"AQAB","kid":")" + std::string(kid) + R"(","n":")" +
           to_base64url(Bytes(256, 0xFF)) + R"("}]})";
  }
  attest::Trust load(const AttestationFiles& files) {
    return load_attestation_trust(files, [this](const std::string& url) {
      asked_.push_back(url);
      return key_set("from-net");
    });
  }
  std::string fault(const AttestationFiles& files) {
    try {
      load(files);
    } catch (const Error& error) {
      EXPECT_EQ(error.reason, "config_invalid");
      return error.message;
    }
    return "";
  }
  std::string issuers_fault(const std::string& text) { return fault({.token_issuers = file("issuers.json", text)}); }

  const std::string dir_ = testing::TempDir() + "tb-trust-" + random_token(8) + "/";
  std::vector<std::string> asked_;
};

TEST_F(AttestationTrust, NothingConfiguredBelievesNothing) {
  const auto trust = load({});
  EXPECT_TRUE(trust.snp.roots.empty());
  EXPECT_TRUE(trust.token.issuers.empty());
}

TEST_F(AttestationTrust, ReadsRootsAndRevocationLists) {
  const auto trust =
      load({.snp_roots = file("roots.pem", pem("CERTIFICATE", "milan-ark") + pem("CERTIFICATE", "genoa-ark")),
            .snp_revocations = file("crl.pem", pem("X509 CRL", "crl-current"))});
  ASSERT_EQ(trust.snp.roots.size(), 2U);
  EXPECT_EQ(trust.snp.roots[1].common_name(), "ARK-Genoa");
  EXPECT_EQ(trust.snp.revocations.size(), 1U);
}

TEST_F(AttestationTrust, RefusesFilesThatAreBroken) {
  EXPECT_THAT(fault({.snp_roots = dir_ + "missing.pem"}), HasSubstr("missing.pem"));
  EXPECT_THAT(fault({.snp_roots = file("empty.pem", "")}), HasSubstr("empty.pem"));
  EXPECT_THAT(
      fault({.snp_roots = file("half.pem", pem("CERTIFICATE", "milan-ark") + "-----BEGIN CERTIFICATE-----\nAA\n")}),
      HasSubstr("half.pem"));
  EXPECT_THAT(fault({.snp_revocations = file("crl.pem", pem("CERTIFICATE", "milan-ark"))}), HasSubstr("crl.pem"));
}

TEST_F(AttestationTrust, IssuersHaveTheirKeysInAFileOrAtAnAddress) {
  const std::string keys = file("keys.json", key_set("from-file"));
  const auto trust =
      load({.token_issuers =
                file("issuers.json", R"([{"issuer":"https://a.test","keys_file":")" + keys +
                                         R"("},{"issuer":"https://b.test","keys_url":"https://b.test/certs"}])")});
  EXPECT_TRUE(asked_.empty()) << "nothing is fetched before a token comes";
  EXPECT_TRUE(trust.token.issuers.at("https://a.test")->find("from-file", 1));
  EXPECT_FALSE(trust.token.issuers.at("https://a.test")->find("from-net", 1));
  EXPECT_TRUE(trust.token.issuers.at("https://b.test")->find("from-net", 1));
  EXPECT_EQ(asked_, std::vector<std::string>{"https://b.test/certs"});
}

TEST_F(AttestationTrust, RefusesIssuersThatCannotStand) {
  const std::string keys = file("keys.json", key_set("k"));
  const std::string good = R"({"issuer":"https://a.test","keys_file":")" + keys + R"("})";
  EXPECT_EQ(issuers_fault("[" + good + "]"), "");
  EXPECT_THAT(issuers_fault("{}"), HasSubstr("JSON list"));
  EXPECT_THAT(issuers_fault("[]"), HasSubstr("JSON list"));
  EXPECT_THAT(issuers_fault("[1]"), HasSubstr("objects"));
  EXPECT_THAT(issuers_fault("[" + good + "," + good + "]"), HasSubstr("twice"));
  EXPECT_THAT(issuers_fault(R"([{"issuer":"https://a.test"}])"), HasSubstr("keys_file"));
  EXPECT_THAT(issuers_fault(R"([{"issuer":"http://a.test","keys_file":"x"}])"), HasSubstr("https"));
  EXPECT_THAT(issuers_fault(R"([{"issuer":"https://a.test","keys_url":"http://a.test/certs"}])"), HasSubstr("https"));
  EXPECT_THAT(issuers_fault(R"([{"issuer":"https://a.test","keys_file":"/missing"}])"), HasSubstr("/missing"));
  EXPECT_THAT(issuers_fault(R"([{"issuer":"https://a.test","jku":"x"}])"), HasSubstr("jku"));
  EXPECT_THAT(issuers_fault(R"([{"issuer":"https://a.test","keys_file":")" + file("bad.json", "{}") + R"("}])"),
              HasSubstr("keys"));
}

}  // namespace
}  // namespace tb::controlplane
