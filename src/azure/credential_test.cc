// Which settings are a credential, and what is sent to whom; against token endpoints of ours, by their published shape.
#include "azure/credential.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <map>

#include "azure/token_server_test.h"
#include "base/crypto.h"
#include "base/fs.h"

namespace tb::azure {
namespace {

using Texts = std::map<std::string, std::string>;

Environment env(Texts texts) {
  return [texts = std::move(texts)](const std::string& name) -> std::optional<std::string> {
    const auto found = texts.find(name);
    return found == texts.end() ? std::nullopt : std::optional(found->second);
  };
}

std::string fault(const std::string& spec, const Texts& variables = {}) {
  const auto parsed = parse_credential(spec, env(variables));
  return parsed ? "" : parsed.error().message;
}

class CredentialTest : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(dir_); }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  std::string file(const std::string& name, const std::string& text, mode_t mode = 0600) const {
    EXPECT_TRUE(write_file_atomically(dir_ + "/" + name, text, mode, true));
    return dir_ + "/" + name;
  }
  Texts identity() const {
    return {{"AZURE_TENANT_ID", "tid-1"},
            {"AZURE_CLIENT_ID", "cid-1"},
            {"AZURE_AUTHORITY_HOST", tokens_.origin() + "/"},
            {"AZURE_POD_IDENTITY_AUTHORITY_HOST", tokens_.origin()}};
  }
  std::string fetched(const std::string& spec, const Texts& variables) const {
    TokenSource source(value_or_throw(parse_credential(spec, env(variables))), "");
    try {
      return source.fetch().reveal();
    } catch (const Error& error) {
      EXPECT_EQ(error.story().find("s3cret"), std::string::npos) << error.story();
      EXPECT_TRUE(error.retryable());
      return error.reason;
    }
  }
  const std::string dir_ = testing::TempDir() + "tb-credential-" + random_token(8);
  TokenServer tokens_;
};

TEST_F(CredentialTest, WhatIsMissingIsNamed) {
  EXPECT_EQ(fault("key-file:/etc/tb/{account}.key"), "");
  EXPECT_NE(fault("key-file:relative"), "");
  EXPECT_NE(fault(""), "");
  EXPECT_NE(fault("password:x"), "");
  EXPECT_THAT(fault("client-secret", {{"AZURE_TENANT_ID", "t"}, {"AZURE_CLIENT_ID", "c"}}),
              testing::HasSubstr("AZURE_CLIENT_SECRET"));
  EXPECT_THAT(fault("client-secret", {{"AZURE_CLIENT_SECRET", "s"}}), testing::HasSubstr("AZURE_TENANT_ID"));
  EXPECT_THAT(fault("workload-identity", identity()), testing::HasSubstr("AZURE_FEDERATED_TOKEN_FILE"));
  EXPECT_NE(fault("managed-identity:a b"), "");
  EXPECT_THAT(fault("managed-identity", {{"IDENTITY_ENDPOINT", "http://127.0.0.1/x"}}),
              testing::HasSubstr("IDENTITY_HEADER"));
  Texts plain = identity();
  plain["AZURE_AUTHORITY_HOST"] = "http://login.example";
  EXPECT_THAT(fault("client-secret-file:/x", plain), testing::HasSubstr("AZURE_AUTHORITY_HOST"));
}

TEST_F(CredentialTest, AClientProvesItselfBySecretOrAssertion) {
  Texts variables = identity();
  variables["AZURE_CLIENT_SECRET"] = "s3cret+/=";
  EXPECT_EQ(fetched("client-secret", variables), "token-1");
  EXPECT_EQ(tokens_.last_path(), "/tid-1/oauth2/v2.0/token");
  EXPECT_EQ(tokens_.last_body(),
            "grant_type=client_credentials&client_id=cid-1&scope=https%3A%2F%2Fstorage.azure.com%2F.default&"
            "client_secret=s3cret%2B%2F%3D");
  EXPECT_EQ(fetched("client-secret-file:" + file("secret", "s3cret\n"), variables), "token-1");
  EXPECT_THAT(tokens_.last_body(), testing::EndsWith("&client_secret=s3cret"));
  EXPECT_EQ(fetched("client-secret-file:" + file("open", "s3cret\n", 0644), variables), "store_unavailable");

  variables["AZURE_FEDERATED_TOKEN_FILE"] = file("federated", "eyJ.a.b\n", 0644);
  EXPECT_EQ(fetched("workload-identity", variables), "token-1");
  EXPECT_THAT(
      tokens_.last_body(),
      testing::EndsWith("&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&"
                        "client_assertion=eyJ.a.b"));
}

TEST_F(CredentialTest, AMachineHasAnIdentityOfItsOwn) {
  EXPECT_EQ(fetched("managed-identity:cid-9", identity()), "token-1");
  EXPECT_EQ(tokens_.last_path(),
            "/metadata/identity/oauth2/"
            "token?api-version=2018-02-01&resource=https%3A%2F%2Fstorage.azure.com&client_id=cid-9");
  EXPECT_EQ(tokens_.last_header("Metadata"), "true");
  EXPECT_EQ(fetched("managed-identity",
                    {{"IDENTITY_ENDPOINT", tokens_.origin() + "/msi/token"}, {"IDENTITY_HEADER", "s3cret"}}),
            "token-1");
  EXPECT_EQ(tokens_.last_path(), "/msi/token?api-version=2019-08-01&resource=https%3A%2F%2Fstorage.azure.com");
  EXPECT_EQ(tokens_.last_header("X-IDENTITY-HEADER"), "s3cret");
}

TEST_F(CredentialTest, ARefusalIsWorthARetryAndTellsNoSecret) {
  Texts variables = identity();
  variables["AZURE_CLIENT_SECRET"] = "s3cret";
  tokens_.answer(401, R"({"error":"invalid_client","error_description":"s3cret is wrong"})");
  EXPECT_EQ(fetched("client-secret", variables), "store_unavailable");
  tokens_.answer(200, "<html>s3cret</html>");
  EXPECT_EQ(fetched("client-secret", variables), "store_unavailable");
  tokens_.answer(200, std::string(1 << 20, 'x'));
  EXPECT_EQ(fetched("client-secret", variables), "store_unavailable");
  for (const auto* bad : {"", "{}", R"({"access_token":1})", R"({"access_token":""})", R"({"access_token":"a b"})",
                          R"({"access_token":"a\r\nb"})", R"({"access_token":"a","access_token":"b"})"}) {
    EXPECT_FALSE(parse_token_answer(bad)) << bad;
  }
}

TEST_F(CredentialTest, AnAccountKeyIsTheBase64OfItsOwnPrivateFile) {
  file("acct.key", to_base64(Bytes(64, 7)) + "\n");
  const auto credential = value_or_throw(parse_credential("key-file:" + dir_ + "/{account}.key", env({})));
  EXPECT_EQ(read_account_key(credential, "acct").reveal(), std::string(64, 7));
  const auto reason = [&](const std::string& account) {
    try {
      read_account_key(credential, account);
    } catch (const Error& error) {
      return error.reason;
    }
    return std::string("nothing");
  };
  EXPECT_EQ(reason("other"), "store_unavailable");
  file("bad.key", "not base64\n");
  EXPECT_EQ(reason("bad"), "store_unavailable");
  file("empty.key", "\n");
  EXPECT_EQ(reason("empty"), "store_unavailable");
  file("open.key", to_base64(Bytes(64, 7)), 0644);
  EXPECT_EQ(reason("open"), "store_unavailable");
}

}  // namespace
}  // namespace tb::azure
