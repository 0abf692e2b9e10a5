// The control plane's signed URLs against Azure's own emulator of its blob store: service SAS and user delegation SAS,
// each for what it lets through and for what it does not (spec: wire 1.5).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "azure/tenant_stores.h"
#include "azure/token_server_test.h"
#include "azurite.h"

namespace tb {
namespace {

constexpr const char* kContent = "0123456789";

/// An access token as Entra writes one; the emulator looks at its claims and not at its signature.
std::string access_token() {
  const auto part = [](const std::string& text) { return to_base64url(as_bytes(text)); };
  const std::int64_t now = unix_ms_now() / 1000;
  const std::string tenant = "ab1f708d-50f6-404c-a006-d71b2ac7a606";
  return part(R"({"alg":"RS256","typ":"JWT"})") + "." +
         part(fmt::format(
             R"({{"aud":"https://storage.azure.com","iss":"https://sts.windows.net/{0}/","iat":{1},"nbf":{1},)"
             R"("exp":{2},"oid":"11111111-1111-1111-1111-111111111111","tid":"{0}"}})",
             tenant, now - 60, now + 3600)) +
         ".c2ln";
}

enum class Signing { kAccountKey, kUserDelegation };

class SignedStore : public testing::TestWithParam<Signing> {
 protected:
  void SetUp() override {
    ASSERT_TRUE(Azurite::installed()) << "azurite is missing: run scripts/engine.sh and scripts/azurite.sh";
    std::filesystem::create_directories(dir_);
    azure::StoreSettings settings;
    std::optional<AzuriteTls> tls;
    if (GetParam() == Signing::kUserDelegation) {
      tls = {.cert_path = dir_ + "/cert.pem", .key_path = dir_ + "/key.pem"};
      const std::string make =
          "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=localhost "
          "-addext "
          "subjectAltName=IP:127.0.0.1 -keyout '" +
          tls->key_path + "' -out '" + tls->cert_path + "' 2>/dev/null";
      ASSERT_EQ(std::system(make.c_str()), 0);
      settings.credential = {.kind = azure::Credential::Kind::kManagedIdentity,
                             .identity_endpoint = login_.origin() + "/x"};
      settings.ca_path = tls->cert_path;
      login_.answer(200, fmt::format(R"({{"access_token":"{}"}})", access_token()));
    }
    azurite_.emplace(dir_ + "/azurite.log", tls);
    if (!tls) {
      ASSERT_TRUE(write_file_atomically(dir_ + "/trustbridge.key", azurite_->key_base64() + "\n", 0600, false));
      settings.credential.file = dir_ + "/{account}.key";
    }
    azurite_->create_container("models");
    for (const auto* path :
         {"/models/acme/m/model.tbenc", "/models/acme/m/model.manifest.json", "/models/beta/m/model.tbenc"}) {
      azurite_->put_blob(path, as_bytes(kContent));
    }
    settings.any_tenant = value_or_throw(azure::parse_place("azure:trustbridge/models/{tenant}", true));
    settings.endpoint = azurite_->endpoint();
    client_.emplace(http::ClientConfig{.ca_path = settings.ca_path, .use_proxy_environment = false});
    stores_.emplace(settings);
  }
  void TearDown() override {
    azurite_.reset();
    std::filesystem::remove_all(dir_);
  }

  std::string signed_url(UnixMs expires_at) {
    return stores_->sign_read({.tenant = "acme", .asset_id = "m", .name = "model.tbenc"}, expires_at).reveal();
  }
  http::ClientResponse send(const std::string& method, const std::string& url, const http::Headers& headers = {},
                            const std::string& body = "") {
    http::ClientRequest request;
    request.method = method;
    request.url = SecretUrl(url);
    request.headers = headers;
    if (!body.empty()) request.body = body;
    return client_->send(request);
  }
  static std::string replaced(std::string text, const std::string& from, const std::string& to) {
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return text.replace(at, from.size(), to);
  }

  const std::string dir_ = testing::TempDir() + "tb-signed-store-" + random_token(8);
  azure::TokenServer login_;
  std::optional<Azurite> azurite_;
  std::optional<http::Client> client_;
  std::optional<azure::TenantStores> stores_;
};

TEST_P(SignedStore, ASignedUrlReadsOneBlobUntilItsEndAndDoesNothingElse) {
  const UnixMs now = unix_ms_now();
  const std::string url = signed_url(now + 600'000);
  const auto whole = send("GET", url);
  ASSERT_EQ(whole.status, 200) << whole.body;
  EXPECT_EQ(whole.body, kContent);
  const auto part = send("GET", url, {{"Range", "bytes=2-5"}});
  EXPECT_EQ(part.status, 206);
  EXPECT_EQ(part.body, "2345");
  EXPECT_EQ(part.headers.get("Content-Range"), "bytes 2-5/10");

  const auto refused = [&](const http::ClientResponse& answer) {
    return answer.status == 403 ? "" : std::to_string(answer.status) + answer.body;
  };
  // Another thing than to read.
  EXPECT_EQ(refused(send("PUT", url, {{"x-ms-blob-type", "BlockBlob"}}, "changed")), "");
  EXPECT_EQ(refused(send("DELETE", url)), "");
  EXPECT_EQ(refused(send("PUT", url + "&comp=block&blockid=YQ%3D%3D", {}, "x")), "");
  const std::string query = url.substr(url.find('?') + 1);
  const std::string container = url.substr(0, url.find("/models/")) + "/models";
  EXPECT_EQ(refused(send("GET", container + "?restype=container&comp=list&" + query)), "");
  // Another blob: of the same asset, of another tenant.
  EXPECT_EQ(refused(send("GET", replaced(url, "/m/model.tbenc", "/m/model.manifest.json"))), "");
  EXPECT_EQ(refused(send("GET", replaced(url, "/acme/", "/beta/"))), "");
  // Changed: permissions, end, signature, none.
  EXPECT_EQ(refused(send("PUT", replaced(url, "&sp=r", "&sp=rw"), {{"x-ms-blob-type", "BlockBlob"}}, "changed")), "");
  const std::string later = azure::escaped(to_rfc3339(now + 6'000'000));
  EXPECT_EQ(refused(send("GET", replaced(url, azure::escaped(to_rfc3339(now + 600'000)), later))), "");
  EXPECT_EQ(refused(send("GET", replaced(url, "&sig=", "&sig=AAAA"))), "");
  EXPECT_NE(send("GET", url.substr(0, url.find('?'))).status, 200);
  EXPECT_EQ(send("GET", url).body, kContent) << "nothing was changed";
  // Over.
  EXPECT_EQ(refused(send("GET", signed_url(now - 60'000))), "");
}

INSTANTIATE_TEST_SUITE_P(Azurite, SignedStore, testing::Values(Signing::kAccountKey, Signing::kUserDelegation),
                         [](const auto& info) {
                           return info.param == Signing::kAccountKey ? "Service" : "UserDelegation";
                         });

}  // namespace
}  // namespace tb
