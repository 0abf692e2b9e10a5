// spec: wire 1.5
#include <gtest/gtest.h>

#include "controlplane/service_test.h"
#include "jose/p256.h"

namespace tb::controlplane {
namespace {

class Blobs : public ServiceTest {
 protected:
  Blobs() {
    register_asset("m");
    Json more = Json::object();
    more.set("lease_seconds", 60);
    token_ = create_contract("c", more);
    Json body = authorize_body("c");
    body.set("key_release_jwk", jose::PrivateKey::generate().public_key().to_jwk());
    const auto answer = authorize(token_, body);
    EXPECT_EQ(answer.status, 200) << answer.body;
    lease_id_ = text_of(answer, "lease_id");
    const std::size_t base = std::string("https://cp.example").size();
    ciphertext_target_ = text_of(answer, "sas_url").substr(base);
    manifest_target_ = text_of(answer, "manifest_url").substr(base);
  }
  std::string token_, lease_id_, ciphertext_target_, manifest_target_;
};

TEST_F(Blobs, ASignedUrlReadsItsObject) {
  const auto whole = get(ciphertext_target_, "");
  EXPECT_EQ(whole.status, 200);
  EXPECT_EQ(bytes_of(whole), ciphertext_);
  EXPECT_EQ(bytes_of(get(manifest_target_, "")), manifest_text_);
  const auto head = call({.method = "HEAD", .target = ciphertext_target_});
  EXPECT_EQ(head.status, 200);
  const auto part = call({.target = ciphertext_target_, .headers = {{"Range", "bytes=2-4"}}});
  EXPECT_EQ(part.status, 206);
  EXPECT_EQ(part.headers.get("Content-Range"), "bytes 2-4/62");
  EXPECT_EQ(bytes_of(part), ciphertext_.substr(2, 3));
  const std::string etag(whole.headers.get("ETag"));
  EXPECT_EQ(call({.target = ciphertext_target_, .headers = {{"If-Match", etag}}}).status, 200);
  EXPECT_EQ(call({.target = ciphertext_target_, .headers = {{"If-Match", "\"x\""}}}).status, 412);
  EXPECT_EQ(call({.target = ciphertext_target_, .headers = {{"Range", "bytes=900-"}}}).status, 416);
}

TEST_F(Blobs, AnythingElseThanTheSignedUrlIsRefusedAlike) {
  const std::string path = ciphertext_target_.substr(0, ciphertext_target_.find('?'));
  const std::string query = ciphertext_target_.substr(ciphertext_target_.find('?'));
  std::string bad_signature = ciphertext_target_;
  bad_signature.back() = bad_signature.back() == 'A' ? 'E' : 'A';
  const auto expected = get(bad_signature, "");
  EXPECT_EQ(expected.status, 403);
  for (const std::string& target :
       {path, path + "?", ciphertext_target_ + "&x=1", ciphertext_target_ + "&lease=" + lease_id_,
        "/blobs/t2/m/model.tbenc" + query, "/blobs/t1/n/model.tbenc" + query, "/blobs/t1/m/model.manifest.json" + query,
        "/blobs/t1/m/kek" + query}) {
    const auto response = get(target, "");
    EXPECT_EQ(response.status, 403) << target;
    EXPECT_EQ(response.body, expected.body) << target;
  }
  EXPECT_EQ(call({.method = "POST", .target = ciphertext_target_}).status, 405);
  EXPECT_EQ(call({.method = "PUT", .target = ciphertext_target_}).status, 405);
  EXPECT_EQ(call({.method = "DELETE", .target = ciphertext_target_}).status, 405);
}

TEST_F(Blobs, TheUrlEndsWithItsLeaseItsContractAndItsTime) {
  EXPECT_EQ(get(ciphertext_target_, "").status, 200);
  post("/api/v1/contracts/c/suspend", provider_);
  EXPECT_EQ(get(ciphertext_target_, "").status, 403);
  post("/api/v1/contracts/c/resume", provider_);
  EXPECT_EQ(get(ciphertext_target_, "").status, 200);
  now_ += 60000;
  EXPECT_EQ(get(ciphertext_target_, "").status, 403) << "the lease was not renewed";
}

TEST_F(Blobs, EvictionEndsTheUrl) {
  EXPECT_EQ(
      call({.method = "DELETE", .target = "/api/v1/contracts/c/leases/" + lease_id_, .token = other_provider_}).status,
      404);
  EXPECT_EQ(get(ciphertext_target_, "").status, 200);
  EXPECT_EQ(call({.method = "DELETE", .target = "/api/v1/contracts/c/leases/" + lease_id_, .token = provider_}).status,
            204);
  EXPECT_EQ(get(ciphertext_target_, "").status, 403);
  const auto leases = get("/api/v1/contracts/c/leases", provider_);
  EXPECT_THAT(leases.body, testing::HasSubstr("\"evicted\""));
}

TEST_F(Blobs, TheUrlEndsAtItsExpiryEvenWithALiveLease) {
  Json renewal = authorize_body("c");
  renewal.set("lease_id", lease_id_);
  for (int i = 0; i < 75; ++i) {
    now_ += 50000;
    ASSERT_EQ(authorize(token_, renewal).status, 200);
  }
  EXPECT_EQ(get(ciphertext_target_, "").status, 403);
}

TEST_F(Blobs, UploadsAreResumedByContentRange) {
  const std::string target = "/api/v1/assets/n/blobs/ciphertext";
  const auto put = [&](const std::string& range, const std::string& body, const std::string& token) {
    return call(
        {.method = "PUT", .target = target, .token = token, .body = body, .headers = {{"Content-Range", range}}});
  };
  EXPECT_EQ(text_of(put("bytes */6", "", provider_), "received_bytes"), "0");
  EXPECT_EQ(put("bytes 0-2/6", "abc", provider_).status, 202);
  EXPECT_EQ(text_of(put("bytes */6", "", provider_), "received_bytes"), "3");
  EXPECT_EQ(text_of(put("bytes */6", "", other_provider_), "received_bytes"), "0");
  EXPECT_EQ(text_of(put("bytes 4-5/6", "ef", provider_), "code"), "upload_offset_wrong");
  EXPECT_EQ(text_of(put("bytes 3-5/6", "de", provider_), "code"), "bad_content_range");
  EXPECT_EQ(text_of(put("bytes 3-5/*", "def", provider_), "code"), "bad_content_range");
  EXPECT_EQ(text_of(put("bytes 5-3/6", "def", provider_), "code"), "bad_content_range");
  EXPECT_EQ(text_of(put("lines 3-5/6", "def", provider_), "code"), "bad_content_range");
  EXPECT_EQ(put("bytes 3-5/6", "def", auditor_).status, 403);
  EXPECT_EQ(put("bytes 3-5/6", "def", provider_).status, 201);
  EXPECT_EQ(text_of(put("bytes */6", "", provider_), "complete"), "true");
  EXPECT_EQ(text_of(put("bytes 0-5/6", "abcdef", provider_), "code"), "blob_conflict");
  EXPECT_EQ(call({.method = "PUT", .target = "/api/v1/assets/n/blobs/kek", .token = provider_, .body = "x"}).status,
            404);
}

}  // namespace
}  // namespace tb::controlplane
