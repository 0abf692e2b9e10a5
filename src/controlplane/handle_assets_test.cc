// spec: wire 1.2, assets
#include <gtest/gtest.h>

#include "api/upload.h"
#include "asset/manifest.h"
#include "base/crypto.h"
#include "controlplane/service_test.h"
#include "jose/sealed_key.h"
#include "jose/statement.h"

namespace tb::controlplane {
namespace {

class Assets : public ServiceTest {
 protected:
  std::string code(const Json& body, const std::string& token) {
    const auto response = post("/api/v1/assets/register", token, body.dump());
    return response.status < 300 ? std::to_string(response.status) : text_of(response, "code");
  }
  /// A registration by https URLs, which need no upload.
  Json external(const std::string& asset_id) const {
    Json body = register_body(asset_id);
    Json urls = Json::object();
    urls.set("ciphertext", "https://blobs.example/m");
    urls.set("manifest", "https://blobs.example/j");
    body.set("blob_urls", std::move(urls));
    return body;
  }
  asset::Manifest manifest(const std::string& asset_id, const FileKey& key) const {
    asset::ManifestDraft draft;
    draft.asset_id = asset_id;
    draft.header.chunk_bytes = 1024;
    draft.plaintext_bytes = 10;
    draft.sha256_ciphertext = sha256(ciphertext_);
    return value_or_throw(draft.build(key));
  }
};

TEST_F(Assets, RegistrationIsIdempotentAndFinal) {
  EXPECT_EQ(code(external("m"), provider_), "201");
  EXPECT_EQ(code(external("m"), provider_), "200");
  Json other = external("m");
  other.set("decryption_key_hex", std::string(64, '2'));
  EXPECT_EQ(code(other, provider_), "asset_conflict");
  other = external("m");
  Json metadata = *other.find("metadata");
  metadata.set("sha256_ciphertext", std::string(64, '2'));
  other.set("metadata", metadata);
  EXPECT_EQ(code(other, provider_), "asset_conflict");
  EXPECT_EQ(call({.method = "DELETE", .target = "/api/v1/assets/m", .token = provider_}).status, 204);
  EXPECT_EQ(code(other, provider_), "asset_conflict");
  EXPECT_EQ(code(external("m"), provider_), "201");
}

TEST_F(Assets, KeysAreNeverTold) {
  code(external("m"), provider_);
  const std::string hex = to_hex(key_.reveal());
  for (const auto& token : {provider_, operator_, auditor_}) {
    const std::string query = token == provider_ ? "" : "?tenant=t1";
    const auto one = get("/api/v1/assets/m" + query, token);
    EXPECT_EQ(one.status, 200);
    EXPECT_EQ(one.body.find(hex), std::string::npos);
    EXPECT_EQ(get("/api/v1/assets", token).body.find(hex), std::string::npos);
  }
}

TEST_F(Assets, AWrappedKeyIsForThisTenantAssetAndCiphertext) {
  const auto keys = get("/api/v1/keys/wrapping", provider_);
  const Json set = value_or_throw(
      Json::parse(jose::verify(keyring_.identity().public_key(), api::kWrappingKeysType, text_of(keys, "jws"))));
  EXPECT_EQ(set.find("tenant")->as_string(), "t1");
  const auto recipient = jose::PublicKey::from_jwk(set.find("keys")->as_array().front());
  const std::string digest = sha256_hex(ciphertext_);
  const auto with = [&](const Json::Object& members, const jose::PublicKey& to) {
    Json body = external("m");
    body.erase("decryption_key_hex");
    body.set("wrapped_key", jose::seal_key(to, members, key_));
    return code(body, provider_);
  };
  EXPECT_EQ(with({{"tenant", "t2"}, {"asset_id", "m"}, {"sha256_ciphertext", digest}}, recipient), "jwe_refused");
  EXPECT_EQ(with({{"tenant", "t1"}, {"asset_id", "n"}, {"sha256_ciphertext", digest}}, recipient), "jwe_refused");
  EXPECT_EQ(with({{"tenant", "t1"}, {"asset_id", "m"}, {"sha256_ciphertext", "aa"}}, recipient), "jwe_refused");
  EXPECT_EQ(with({{"asset_id", "m"}, {"sha256_ciphertext", digest}}, recipient), "jwe_refused");
  const Json::Object good = {{"tenant", "t1"}, {"asset_id", "m"}, {"sha256_ciphertext", digest}};
  EXPECT_EQ(with(good, jose::PrivateKey::generate().public_key()), "jwe_refused");
  EXPECT_EQ(with(good, recipient), "201");
  EXPECT_EQ(with(good, recipient), "200") << "the same key again, sealed anew";
}

TEST_F(Assets, AKeyMayBeSealedToAnyPublishedKeyUntilItIsRetired) {
  const auto published = [&] {
    const Json set = value_or_throw(Json::parse(jose::verify(keyring_.identity().public_key(), api::kWrappingKeysType,
                                                             text_of(get("/api/v1/keys/wrapping", provider_), "jws"))));
    std::vector<jose::PublicKey> out;
    for (const Json& key : set.find("keys")->as_array()) out.push_back(jose::PublicKey::from_jwk(key));
    return out;
  };
  const auto registered_under = [&](const std::string& asset_id, const jose::PublicKey& to) {
    Json body = external(asset_id);
    body.erase("decryption_key_hex");
    body.set("wrapped_key",
             jose::seal_key(
                 to, {{"tenant", "t1"}, {"asset_id", asset_id}, {"sha256_ciphertext", sha256_hex(ciphertext_)}}, key_));
    return code(body, provider_);
  };
  const auto old = published().at(0);
  const auto added = keyring_.add_wrapping_key(now_).key;
  EXPECT_EQ(published(), (std::vector{added, old}));
  EXPECT_EQ(registered_under("a", old), "201");
  EXPECT_EQ(registered_under("b", added), "201");
  keyring_.retire_wrapping_key(old.thumbprint());
  EXPECT_EQ(published(), std::vector{added});
  EXPECT_EQ(registered_under("c", old), "jwe_refused");
  EXPECT_EQ(registered_under("d", added), "201");
  std::vector<std::string> kinds;
  for (const auto& event : store_->list_events(std::nullopt, -1, 1000)) {
    for (const char* kind : {"wrapping_key_added", "wrapping_key_retired"}) {
      if (event.line.find(kind) != std::string::npos) kinds.emplace_back(kind);
    }
  }
  EXPECT_EQ(kinds, (std::vector<std::string>{"wrapping_key_added", "wrapping_key_retired"}));
}

TEST_F(Assets, TheManifestIsHeldAgainstTheKeyAndTheMetadata) {
  Json body = external("m");
  body.set("manifest", manifest("m", random_key()).document());
  EXPECT_EQ(code(body, provider_), "mac_mismatch");
  body.set("manifest", manifest("n", key_).document());
  EXPECT_EQ(code(body, provider_), "asset_mismatch");
  Json changed = manifest("m", key_).document();
  changed.set("plaintext_bytes", 11);
  body.set("manifest", changed);
  EXPECT_EQ(code(body, provider_), "metadata_mismatch");
  body.set("manifest", manifest("m", key_).document());
  const auto response = post("/api/v1/assets/register", provider_, body.dump());
  EXPECT_EQ(response.status, 201) << response.body;
  EXPECT_EQ(text_of(response, "manifest_sha256"), manifest("m", key_).sha256());
}

TEST_F(Assets, OnlyOurOwnStoreAndHttpsAreTaken) {
  const auto with_url = [&](const std::string& url) {
    Json body = external("m");
    Json urls = *body.find("blob_urls");
    urls.set("ciphertext", url);
    body.set("blob_urls", urls);
    return code(body, provider_);
  };
  EXPECT_EQ(with_url("store:n/model.tbenc"), "field_invalid");
  EXPECT_EQ(with_url("store:m/../n/model.tbenc"), "field_invalid");
  EXPECT_EQ(with_url("store:m/model.tbenc"), "blob_not_found");
  EXPECT_EQ(with_url("file:///etc/passwd"), "field_invalid");
  EXPECT_EQ(with_url("http://blobs.example/m"), "field_invalid");
  EXPECT_EQ(with_url("https://user@blobs.example/m"), "field_invalid");
  EXPECT_EQ(with_url("http://127.0.0.1:9/m"), "201");
}

TEST_F(Assets, TheStoredObjectMustHaveTheSizeThatTheMetadataSays) {
  const std::string target = "/api/v1/assets/m/blobs/ciphertext";
  EXPECT_EQ(call({.method = "PUT", .target = target, .token = provider_, .body = "short"}).status, 201);
  call({.method = "PUT", .target = "/api/v1/assets/m/blobs/manifest", .token = provider_, .body = "{}"});
  EXPECT_EQ(code(register_body("m"), provider_), "metadata_mismatch");
}

TEST_F(Assets, RolesAndTenants) {
  EXPECT_EQ(code(external("m"), auditor_), "role_denied");
  EXPECT_EQ(code(external("m"), ""), "token_refused");
  EXPECT_EQ(code(external("m"), "tbt_unknown"), "token_refused");
  EXPECT_EQ(code(external("m"), operator_), "usage") << "an operator must say for whom";
  EXPECT_EQ(code(external("m"), provider_), "201");
  const auto foreign = get("/api/v1/assets/m", other_provider_);
  const auto missing = get("/api/v1/assets/n", other_provider_);
  EXPECT_EQ(foreign.status, 404);
  std::string same = missing.body;
  same.replace(same.find("asset n"), 7, "asset m");
  EXPECT_EQ(foreign.body, same) << "another tenant's asset is as one that does not exist";
  EXPECT_EQ(text_of(get("/api/v1/assets", other_provider_), "items"), "[]");
  EXPECT_EQ(text_of(get("/api/v1/assets?tenant=t1", other_provider_), "items"), "[]");
  EXPECT_EQ(get("/api/v1/assets/m?tenant=t1", other_provider_).status, 404);
  EXPECT_EQ(call({.method = "DELETE", .target = "/api/v1/assets/m", .token = other_provider_}).status, 404);
  EXPECT_EQ(call({.method = "DELETE", .target = "/api/v1/assets/m", .token = auditor_}).status, 403);
  EXPECT_EQ(get("/api/v1/assets/m?tenant=t1", operator_).status, 200);
  now_ += 3600000;
  EXPECT_EQ(get("/api/v1/assets", auditor_).status, 401) << "the auditor's token has expired";
}

TEST_F(Assets, ListsHaveBoundedPages) {
  for (const auto* id : {"a", "b", "c"}) code(external(id), provider_);
  const auto first = get("/api/v1/assets?limit=2", provider_);
  EXPECT_EQ(body_of(first).find("items")->as_array().size(), 2U);
  const auto rest = get("/api/v1/assets?limit=2&cursor=" + text_of(first, "next_cursor"), provider_);
  EXPECT_EQ(body_of(rest).find("items")->as_array().size(), 1U);
  EXPECT_EQ(text_of(rest, "next_cursor"), "(none)");
  for (const auto* query : {"limit=0", "limit=1001", "limit=x", "limit=1&limit=2", "offset=1"}) {
    EXPECT_EQ(get(std::string("/api/v1/assets?") + query, provider_).status, 400) << query;
  }
}

}  // namespace
}  // namespace tb::controlplane
