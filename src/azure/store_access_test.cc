// Which credential is chosen, what is never tried in its place, tokens in time, and az as a program that lies.
#include "azure/store_access.h"

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

using testing::HasSubstr;
using Texts = std::map<std::string, std::string>;

class StoreAccessTest : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(dir_); }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  std::string file(const std::string& name, const std::string& text, mode_t mode = 0600) const {
    EXPECT_TRUE(write_file_atomically(dir_ + "/" + name, text, mode, true));
    return dir_ + "/" + name;
  }
  /// A program that stands in for az.
  std::string az(const std::string& script) const {
    const std::string path = file("az", "#!/bin/sh\n" + script + "\n", 0755);
    chmod(path.c_str(), 0755);
    return path;
  }
  std::unique_ptr<StoreAccess> chosen(Texts variables, AccessFlags flags = {}) const {
    if (flags.account.empty()) flags.account = "acct1";
    // Nothing in these tests asks the real metadata service or a real az.
    variables.emplace("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1");
    return StoreAccess::choose(flags, [variables](const std::string& name) -> std::optional<std::string> {
      const auto found = variables.find(name);
      return found == variables.end() ? std::nullopt : std::optional(found->second);
    });
  }
  Error refusal(const Texts& variables, const AccessFlags& flags = {}) const {
    try {
      chosen(variables, flags);
    } catch (const Error& error) {
      for (const char* secret : {"c2Vj", "s3cret"}) EXPECT_EQ(error.story().find(secret), std::string::npos);
      return error;
    }
    return {"", "nothing was refused"};
  }
  http::ClientRequest request_of(StoreAccess& access) const {
    http::ClientRequest request;
    access.authorize({.method = "GET", .path = "/models/b", .query = {{"comp", "blocklist"}}}, request);
    return request;
  }
  static constexpr const char* kKey = "c2VjcmV0LXNlY3JldC1zZWNyZXQ=";
  static constexpr const char* kSas = "sv=2022-11-02&sp=rcw&sig=s3cret";
  const std::string dir_ = testing::TempDir() + "tb-access-" + random_token(8);
  TokenServer server_;
};

TEST_F(StoreAccessTest, TheFirstOfTheOrderIsTaken) {
  Texts all = {{"AZURE_STORAGE_CONNECTION_STRING", std::string("AccountName=acct1;AccountKey=") + kKey},
               {"AZURE_STORAGE_KEY", kKey},
               {"AZURE_STORAGE_SAS_TOKEN", kSas},
               {"AZURE_TENANT_ID", "t"},
               {"AZURE_CLIENT_ID", "c"},
               {"AZURE_CLIENT_SECRET", "s3cret"},
               {"AZURE_FEDERATED_TOKEN_FILE", file("federated", "jwt")}};
  EXPECT_THAT(chosen(all)->how(), HasSubstr("AZURE_STORAGE_CONNECTION_STRING"));
  for (const auto& [gone, next] : {std::pair{"AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_KEY"},
                                   {"AZURE_STORAGE_KEY", "AZURE_STORAGE_SAS_TOKEN"},
                                   {"AZURE_STORAGE_SAS_TOKEN", "client-secret"},
                                   {"AZURE_CLIENT_SECRET", "workload-identity"}}) {
    all.erase(gone);
    EXPECT_THAT(chosen(all)->how(), HasSubstr(next));
  }
  // A flag, and --auth, stand above the environment.
  all["AZURE_STORAGE_CONNECTION_STRING"] = std::string("AccountName=acct1;AccountKey=") + kKey;
  EXPECT_THAT(chosen(all, {.sas_file = file("sas", kSas)})->how(), HasSubstr("/sas"));
  EXPECT_THAT(chosen(all, {.account_key_file = file("key", kKey)})->how(), HasSubstr("/key"));
  EXPECT_THAT(chosen(all, {.auth = "workload-identity"})->how(), HasSubstr("workload-identity"));
}

TEST_F(StoreAccessTest, EachProvesItselfInItsWay) {
  const auto key = chosen({{"AZURE_STORAGE_KEY", kKey}});
  const http::ClientRequest signed_request = request_of(*key);
  EXPECT_THAT(std::string(signed_request.headers.get("Authorization")), testing::StartsWith("SharedKey acct1:"));
  EXPECT_EQ(signed_request.url.reveal(), "https://acct1.blob.core.windows.net/models/b?comp=blocklist");
  EXPECT_NE(signed_request.headers.get("x-ms-date"), "");
  const auto sas = chosen({{"AZURE_STORAGE_SAS_TOKEN", std::string("?") + kSas}});
  EXPECT_EQ(request_of(*sas).url.reveal(),
            "https://acct1.blob.core.windows.net/models/b?comp=blocklist&sv=2022-11-02&sp=rcw&sig=s3cret");
  EXPECT_EQ(request_of(*sas).url.printable().find("sig"), std::string::npos);
  const Texts identity = {{"AZURE_TENANT_ID", "tid-1"},
                          {"AZURE_CLIENT_ID", "cid-1"},
                          {"AZURE_CLIENT_SECRET", "s3cret"},
                          {"AZURE_AUTHORITY_HOST", server_.origin()}};
  const auto client = chosen(identity);
  EXPECT_EQ(request_of(*client).bearer->reveal(), "token-1");
  EXPECT_THAT(server_.last_body(), HasSubstr("scope=https%3A%2F%2Fstorage.azure.com%2F.default"));
  // A managed identity is tried, and found.
  const auto managed = chosen({{"AZURE_POD_IDENTITY_AUTHORITY_HOST", server_.origin()}});
  EXPECT_EQ(request_of(*managed).bearer->reveal(), "token-1");
  EXPECT_EQ(server_.last_header("Metadata"), "true");
}

TEST_F(StoreAccessTest, AFaultIsNamedAndNotCoveredUp) {
  EXPECT_EQ(refusal({}, {.auth = "password"}).reason, "usage");
  EXPECT_EQ(refusal({}, {.auth = "key"}).reason, "config_invalid");
  EXPECT_EQ(refusal({}, {.auth = "connection-string"}).reason, "config_invalid");
  EXPECT_EQ(refusal({}, {.auth = "client-secret"}).reason, "config_invalid");
  EXPECT_EQ(refusal({{"AZURE_STORAGE_KEY", "c2Vj!"}, {"AZURE_STORAGE_SAS_TOKEN", kSas}}).reason, "config_invalid");
  EXPECT_EQ(refusal({{"AZURE_STORAGE_SAS_TOKEN", "s3cret"}}).reason, "config_invalid");
  EXPECT_EQ(refusal({}, {.sas_file = file("open", kSas, 0644)}).reason, "file_mode_unsafe");
  EXPECT_EQ(refusal({}, {.sas_file = dir_ + "/none"}).reason, "file_not_found");
  EXPECT_EQ(refusal({{"AZURE_STORAGE_CONNECTION_STRING", std::string("AccountName=other;AccountKey=") + kKey}}).reason,
            "usage");
  EXPECT_EQ(refusal({{"AZURE_STORAGE_KEY", kKey}}, {.account = "No"}).reason, "usage");
  EXPECT_EQ(refusal({{"AZURE_STORAGE_KEY", kKey}}, {.endpoint = "https://no.account.example"}).reason, "usage");
  EXPECT_EQ(refusal({{"AZURE_STORAGE_KEY", kKey}}, {.endpoint = "http://{account}.example"}).reason, "usage");
  const Error ended = refusal({{"AZURE_STORAGE_SAS_TOKEN", std::string(kSas) + "&se=2020-01-01T00:00:00Z"}});
  EXPECT_EQ(ended.reason, "url_expired");
  EXPECT_THAT(ended.message, HasSubstr("2020-01-01"));
}

TEST_F(StoreAccessTest, NothingFoundSaysWhatWasTried) {
  const std::string path = getenv("PATH");
  setenv("PATH", dir_.c_str(), 1);
  const Error none = refusal({});
  az("echo s3cret >&2; exit 1");
  const Error logged_out = refusal({});
  az(R"(echo '{"accessToken": "from-az", "expires_on": 4102444800}')");
  const auto found = chosen({});
  setenv("PATH", path.c_str(), 1);
  EXPECT_EQ(none.reason, "credential_unavailable");
  EXPECT_THAT(none.message, testing::AllOf(HasSubstr("managed-identity"), HasSubstr("az is not there")));
  EXPECT_THAT(logged_out.message, HasSubstr("exit status 1"));
  EXPECT_EQ(request_of(*found).bearer->reveal(), "from-az");
}

TEST_F(StoreAccessTest, AzIsBoundedInTimeAndBytes) {
  const auto message = [&](const std::string& script, std::int64_t timeout_ms = 60'000) {
    try {
      az_token({.program = az(script), .timeout_ms = timeout_ms});
    } catch (const Error& error) {
      EXPECT_EQ(error.reason, "credential_unavailable");
      EXPECT_NE(error.hint(), "");
      return error.message;
    }
    return std::string();
  };
  EXPECT_THAT(message("yes '{'"), HasSubstr("without an end"));
  EXPECT_THAT(message("sleep 600 & sleep 600", 200), HasSubstr("has not answered"));
  EXPECT_THAT(message("exec >&-; sleep 600", 200), HasSubstr("has not answered"));
  EXPECT_THAT(message("echo hello"), HasSubstr("no access token"));
  EXPECT_THAT(message("echo '{\"accessToken\": \"a b\"}'"), HasSubstr("no access token"));
  // Its words, each one argument; the tenant's is no option.
  const AccessToken token =
      az_token({.program = az("printf '{\"accessToken\":\"%s\"}' \"$*\" | tr ' ' '+'"), .tenant = "t-1"});
  EXPECT_EQ(token.text.reveal(),
            "account+get-access-token+--output+json+--scope+https://storage.azure.com/.default+--tenant+t-1");
  EXPECT_EQ(parse_az_answer(R"({"accessToken":"t","expires_on":100})", 40'000)->life_ms, 60'000);
  EXPECT_EQ(parse_az_answer(R"({"accessToken":"t","expiresOn":"2026-01-01 00:00:00"})", 0)->life_ms, 0);
}

TEST(TokensTest, AreAskedAnewBeforeTheirEndAndOnceAfterARefusal) {
  std::int64_t now = 0;
  int asked = 0;
  Tokens tokens([&] { return AccessToken{SecretString("t" + std::to_string(++asked)), 3'600'000}; },
                [&] { return now; });
  EXPECT_EQ(tokens.current().reveal(), "t1");
  now = 3'299'999;
  EXPECT_EQ(tokens.current().reveal(), "t1");
  now = 3'300'000;
  EXPECT_EQ(tokens.current().reveal(), "t2");
  tokens.renew(SecretString("t1"));
  EXPECT_EQ(tokens.current().reveal(), "t2") << "another one has renewed it meanwhile";
  tokens.renew(SecretString("t2"));
  EXPECT_EQ(tokens.current().reveal(), "t3");
  Tokens brief([&] { return AccessToken{SecretString("b" + std::to_string(++asked)), 60'000}; }, [&] { return now; });
  EXPECT_EQ(brief.current().reveal(), "b4");
  now += 29'999;
  EXPECT_EQ(brief.current().reveal(), "b4");
  now += 1;
  EXPECT_EQ(brief.current().reveal(), "b5");
}

TEST(TokensTest, LifeComesFromTheAnswer) {
  EXPECT_EQ(parse_token_answer(R"({"access_token":"t","expires_in":3599})")->life_ms, 3'599'000);
  EXPECT_EQ(parse_token_answer(R"({"access_token":"t","expires_in":"3599"})")->life_ms, 3'599'000);
  for (const char* odd : {R"({"access_token":"t"})", R"({"access_token":"t","expires_in":"soon"})",
                          R"({"access_token":"t","expires_in":-5})", R"({"access_token":"t","expires_in":[1]})"}) {
    EXPECT_EQ(parse_token_answer(odd)->life_ms, 0) << odd;
  }
}

}  // namespace
}  // namespace tb::azure
