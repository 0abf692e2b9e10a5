// What is registered and what is signed where a store elsewhere holds tenants' blobs. spec: wire 1.5
#include <gmock/gmock.h>

#include "controlplane/service_test.h"

namespace tb::controlplane {
namespace {

/// Tenant t1 has a place, others have none.
class FakeStore final : public blob::SigningStore {
 public:
  std::string url(const blob::StoredObject& object) const override {
    if (object.tenant != "t1") return "";
    return "https://store.example/c/t1/" + object.asset_id + "/" + object.name;
  }
  bool covers(std::string_view url) const override { return url.starts_with("https://store.example/c/"); }
  SecretUrl sign_read(const blob::StoredObject& object, UnixMs expires_at) override {
    if (fails) throw Error("store_unavailable", "as the test wants");
    return SecretUrl(url(object) + "?se=" + to_rfc3339(expires_at));
  }
  bool fails = false;
};

class SigningStoreTest : public ServiceTest {
 protected:
  SigningStoreTest() { deps_.signing_store = &remote_; }
  http::Response register_at(const std::string& ciphertext, const std::string& manifest, const std::string& token) {
    Json body = register_body("m");
    body.set("blob_urls", api::BlobUrls{.ciphertext = ciphertext, .manifest = manifest}.to_json());
    return post("/api/v1/assets/register", token, body.dump());
  }
  static constexpr const char* kCiphertext = "https://store.example/c/t1/m/model.tbenc";
  static constexpr const char* kManifest = "https://store.example/c/t1/m/model.manifest.json";
  FakeStore remote_;
};

TEST_F(SigningStoreTest, OnlyTheAssetsOwnPlaceIsTaken) {
  for (const auto* bad :
       {"https://store.example/c/t2/m/model.tbenc", "https://store.example/c/t1/other/model.tbenc",
        "https://store.example/c/t1/m/model.manifest.json", "https://store.example/c/t1/m/model.tbenc?sig=x",
        "https://store.example/c/", "https://store.example/c/t1/m/model.tbenc/"}) {
    const auto refused = register_at(bad, kManifest, provider_);
    EXPECT_EQ(refused.status, 400) << bad;
    EXPECT_THAT(text_of(refused, "hint"), testing::HasSubstr(kCiphertext));
  }
  EXPECT_EQ(register_at(kCiphertext, kCiphertext, provider_).status, 400);
  const auto elsewhere = register_at(kCiphertext, kManifest, other_provider_);
  EXPECT_EQ(elsewhere.status, 400) << "another tenant's place";
  EXPECT_EQ(elsewhere.body.find("t1"), std::string::npos);
  EXPECT_EQ(register_at(kCiphertext, kManifest, provider_).status, 201);
}

TEST_F(SigningStoreTest, WhatIsReleasedIsSignedUntilTheUrlsEnd) {
  ASSERT_EQ(register_at(kCiphertext, kManifest, provider_).status, 201);
  Json terms = Json::object();
  terms.set("key_release", "plain");
  terms.set("not_after", to_rfc3339(now_ + 600'000));
  const std::string token = create_contract("c", terms);
  const auto released = authorize(token, authorize_body("c"));
  ASSERT_EQ(released.status, 200) << released.body;
  EXPECT_EQ(text_of(released, "sas_url"), kCiphertext + ("?se=" + to_rfc3339(now_ + 600'000)));
  EXPECT_EQ(text_of(released, "manifest_url"), kManifest + ("?se=" + to_rfc3339(now_ + 600'000)));
}

TEST_F(SigningStoreTest, AUrlElsewhereIsGivenOutAsItIs) {
  ASSERT_EQ(register_at("https://cdn.example/a?own=1", kManifest, provider_).status, 201);
  Json terms = Json::object();
  terms.set("key_release", "plain");
  const auto released = authorize(create_contract("c", terms), authorize_body("c"));
  EXPECT_EQ(text_of(released, "sas_url"), "https://cdn.example/a?own=1");
  EXPECT_THAT(text_of(released, "manifest_url"), testing::HasSubstr("?se="));
}

TEST_F(SigningStoreTest, AStoreThatCannotSignTakesNoSeat) {
  ASSERT_EQ(register_at(kCiphertext, kManifest, provider_).status, 201);
  Json terms = Json::object();
  terms.set("key_release", "plain");
  const std::string token = create_contract("c", terms);
  remote_.fails = true;
  const auto refused = authorize(token, authorize_body("c"));
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(text_of(refused, "code"), "store_unavailable");
  EXPECT_TRUE(store_->list_leases("t1", "c", "", 10).empty());
  remote_.fails = false;
  EXPECT_EQ(authorize(token, authorize_body("c")).status, 200);
}

}  // namespace
}  // namespace tb::controlplane
