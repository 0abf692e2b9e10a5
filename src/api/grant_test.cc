// spec: wire 1.1, `grant`
#include "api/grant.h"

#include <gtest/gtest.h>

namespace tb::api {
namespace {

LeaseGrant full() {
  LeaseGrant grant;
  grant.contract_id = "c";
  grant.asset_id = "m";
  grant.lease_id = "l";
  grant.policy.allowed_paths = {"/v1/models"};
  grant.policy.runtime_isolation = "required";
  grant.policy.enforcement = {.grade = Grade::kThrottle, .notice = "invoice 7 is due", .requests_per_minute = 5};
  grant.policy_version = 7;
  grant.manifest_sha256 = std::string(64, 'a');
  grant.url_origins = {"https://blobs.example"};
  grant.key_thumbprint = "t";
  grant.nonce = "n";
  grant.proof_jti = "j";
  grant.issued_at = 1800000000123;
  grant.expires_at = 1800000300123;
  grant.offline_grace_seconds = 5;
  return grant;
}

TEST(LeaseGrant, IsReadAsItWasWritten) {
  const std::string text = full().to_json().dump();
  EXPECT_EQ(LeaseGrant::parse(text).to_json().dump(), text);
}

TEST(LeaseGrant, EveryFieldIsRequiredAndTyped) {
  const Json whole = full().to_json();
  for (const auto& [name, value] : whole.as_object()) {
    Json without = whole;
    without.erase(name);
    Json wrong = whole;
    wrong.set(name, true);
    for (const Json& broken : {without, wrong}) {
      try {
        LeaseGrant::parse(broken.dump());
        ADD_FAILURE() << name << " may be missing or of another type";
      } catch (const Error& error) {
        EXPECT_EQ(error.reason, "grant_refused") << name;
        EXPECT_THAT(error.message, testing::HasSubstr(name == "issued_at" || name == "expires_at" ? "" : name));
      }
    }
  }
  EXPECT_THROW(LeaseGrant::parse("[]"), Error);
  EXPECT_THROW(LeaseGrant::parse(R"({"lease_id":"a","lease_id":"b"})"), Error);
}

TEST(OriginOf, IsSchemeHostAndPort) {
  EXPECT_EQ(origin_of("https://Blobs.Example:443/a/b?sig=x"), "https://blobs.example");
  EXPECT_EQ(origin_of("HTTP://127.0.0.1:8080"), "http://127.0.0.1:8080");
  EXPECT_EQ(origin_of("http://[::1]:80/x"), "http://[::1]");
  EXPECT_EQ(origin_of("https://a?b"), "https://a");
  EXPECT_NE(origin_of("https://a:8443/"), origin_of("https://a/"));
  EXPECT_NE(origin_of("http://a/"), origin_of("https://a/"));
  for (const auto* none : {"", "file:/x", "ftp://a/", "https://", "https:///x", "https://good@evil/", "blobs/x",
                           "https://good\\@evil/", "https://good%2f@evil/", "https://good evil/"}) {
    EXPECT_EQ(origin_of(none), "") << none;
  }
}

}  // namespace
}  // namespace tb::api
