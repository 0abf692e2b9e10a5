// The client rules of wire 1.1 against scripted answers; keys are really sealed and opened.
#include "sentinel/authorizer.h"

#include <gtest/gtest.h>

#include <deque>

#include "base/clock.h"
#include "base/crypto.h"
#include "jose/sealed_key.h"
#include "sentinel/lease_keeper.h"

namespace tb::sentinel {
namespace {

constexpr async::BackoffPolicy kQuick{.first_ms = 1, .factor = 1, .max_ms = 1, .jitter = 0, .attempts = 4};
const std::string kHex(64, 'a');

struct Peer {
  std::deque<std::function<http::ClientResponse(const Json& asked)>> answers;
  std::vector<Json> asked;
  std::vector<std::string> bearers;

  http::ClientResponse operator()(const http::ClientRequest& request) {
    asked.push_back(Json::parse(std::get<std::string>(request.body)).value());
    bearers.push_back(request.bearer ? request.bearer->reveal() : "");
    if (answers.empty()) throw Error("network_unreachable", "nobody answers");
    auto next = answers.size() > 1 ? std::move(answers.front()) : answers.front();
    if (answers.size() > 1) answers.pop_front();
    return next(asked.back());
  }
};

Json kept() {
  Json out = Json::object();
  out.set("status", "authorized");
  out.set("sas_url", "https://blobs.example/m?sig=x");
  out.set("manifest_url", "https://blobs.example/n?sig=x");
  out.set("expires_at", to_rfc3339(unix_ms_now() + 3'600'000));
  return out;
}

http::ClientResponse answer(int status, const Json& body) {
  return {.status = status, .headers = {}, .body = body.dump()};
}

Json denied(const char* reason) {
  Json out = Json::object();
  out.set("status", "denied");
  out.set("reason", reason);
  return out;
}

/// A wrapped answer for what was asked; `edit` may spoil the protected members.
Json wrapped(const Json& asked, const std::function<void(Json::Object&)>& edit = {}) {
  Json::Object members = {
      {"contract_id", Json("c1")}, {"asset_id", Json("a1")}, {"lease_id", Json("l1")}, {"policy_version", Json(1)}};
  if (edit) edit(members);
  const auto recipient = jose::PublicKey::from_jwk(*asked.find("key_release_jwk"));
  const FileKey key(std::span<const std::uint8_t, 32>(sha256("key")));
  Json out = kept();
  out.set("lease_id", "l1");
  out.set("issued_at", "2030-01-01T00:00:00Z");
  out.set("lease_expires_at", "2030-01-01T00:05:00Z");
  out.set("renew_after_seconds", 100);
  out.set("offline_grace_seconds", 7);
  out.set("wrapped_key", jose::seal_key(recipient, members, key));
  return out;
}

class AuthorizerTest : public testing::Test {
 protected:
  Authorizer make(bool plain = false) {
    return Authorizer({"https://cp.example", "c1", "a1", kHex, "1", "", plain}, key_, std::ref(peer_), kQuick);
  }
  void says(std::function<http::ClientResponse(const Json&)> next) { peer_.answers.push_back(std::move(next)); }
  void says(int status, const Json& body) {
    says([status, body](const Json&) { return answer(status, body); });
  }
  std::string refusal(bool plain = false) {
    try {
      make(plain).authorize({});
      return "";
    } catch (const Error& error) {
      return error.reason;
    }
  }
  std::string renewal(const std::string& lease_id = "l1") {
    try {
      Holding held{.lease_id = lease_id};
      make().renew(held, {});
      return "";
    } catch (const Error& error) {
      return error.reason;
    }
  }
  Peer peer_;
  const jose::PrivateKey key_ = jose::PrivateKey::generate();
};

TEST_F(AuthorizerTest, AWrappedKeyIsOpenedAndTheLeaseIsInOurClock) {
  says([](const Json& asked) { return answer(200, wrapped(asked)); });
  const std::int64_t before = boot_ms_now();
  const Authorization granted = make().authorize({});
  EXPECT_TRUE(std::ranges::equal(granted.key.reveal(), sha256("key")));
  EXPECT_GE(granted.lease.expires_boot_ms, before + 300'000);
  EXPECT_LE(granted.lease.expires_boot_ms, boot_ms_now() + 300'000);
  EXPECT_EQ(granted.lease.renew_after_ms, 100'000);
  EXPECT_EQ(granted.lease.offline_grace_ms, 7'000);
  EXPECT_EQ(peer_.asked[0].find("key_release_jwk")->find("d"), nullptr) << "the private part must not travel";
}

TEST_F(AuthorizerTest, EveryRequestHasAKeyOfItsOwn) {
  says([](const Json& asked) { return answer(200, wrapped(asked)); });
  Authorizer authorizer = make();
  (void)authorizer.authorize({});
  (void)authorizer.authorize({});
  EXPECT_NE(peer_.asked[0].find("key_release_jwk")->dump(), peer_.asked[1].find("key_release_jwk")->dump());
}

TEST_F(AuthorizerTest, AKeyForAnotherPurposeIsRefused) {
  for (const char* name : {"contract_id", "asset_id", "lease_id"}) {
    says([name](const Json& asked) {
      return answer(200, wrapped(asked, [name](Json::Object& members) {
                      for (auto& [member, value] : members) {
                        if (member == name) value = Json("other");
                      }
                    }));
    });
    EXPECT_EQ(refusal(), "jwe_refused") << name;
    peer_.answers.clear();
  }
  says([](const Json& asked) {
    Json out = wrapped(asked);
    Json other = asked;
    other.set("key_release_jwk", jose::PrivateKey::generate().public_key().to_jwk());
    out.set("wrapped_key", *wrapped(other).find("wrapped_key"));
    return answer(200, out);
  });
  EXPECT_EQ(refusal(), "jwe_refused") << "sealed to another key";
}

TEST_F(AuthorizerTest, KeyForms) {
  Json plain = kept();
  plain.set("decryption_key_hex", kHex);
  says(200, plain);
  EXPECT_EQ(refusal(), "authorize_answer_malformed") << "hex is refused by default";
  EXPECT_EQ(refusal(true), "");
  EXPECT_EQ(peer_.asked.back().find("key_release_jwk"), nullptr);
  plain.set("wrapped_key", "a.b.c.d.e");
  peer_.answers.clear();
  says(200, plain);
  EXPECT_EQ(refusal(), "authorize_answer_malformed") << "both forms";
  EXPECT_EQ(refusal(true), "authorize_answer_malformed") << "both forms";
}

TEST_F(AuthorizerTest, WhatIsFinalAndWhatIsAskedAgain) {
  const auto attempts = [&](int status, const Json& body, const char* reason) {
    peer_ = {};
    says(status, body);
    EXPECT_EQ(refusal(), reason) << status;
    return peer_.asked.size();
  };
  EXPECT_EQ(attempts(403, denied("contract_suspended"), "contract_suspended"), 1U);
  EXPECT_EQ(attempts(200, denied("seat_limit"), "seat_limit"), 1U);
  EXPECT_EQ(attempts(401, denied("what an old one says"), "licence_denied"), 1U);
  EXPECT_EQ(attempts(403, Json("html"), "licence_denied"), 1U);
  EXPECT_EQ(attempts(404, Json::object(), "control_plane_refused"), 1U);
  EXPECT_EQ(attempts(302, Json::object(), "control_plane_refused"), 1U);
  EXPECT_EQ(attempts(200, Json::object(), "authorize_answer_malformed"), 1U);
  EXPECT_EQ(attempts(429, Json::object(), "control_plane_unavailable"), 4U);
  EXPECT_EQ(attempts(503, Json::object(), "control_plane_unavailable"), 4U);
  peer_ = {};
  EXPECT_EQ(refusal(), "control_plane_unavailable") << "network";
  EXPECT_EQ(peer_.asked.size(), 4U);
}

TEST_F(AuthorizerTest, ItGoesOnAfterAnOutage) {
  says(503, Json::object());
  says(429, Json::object());
  says([](const Json& asked) { return answer(200, wrapped(asked)); });
  EXPECT_EQ(refusal(), "");
  EXPECT_EQ(peer_.asked.size(), 3U);
}

// spec: wire 1.1: at renewal only a well-formed denial with a known reason is one.
TEST_F(AuthorizerTest, Renewal) {
  const auto outcome = [&](int status, const std::string& body) {
    peer_ = {};
    says([=](const Json&) { return http::ClientResponse{.status = status, .headers = {}, .body = body}; });
    return renewal();
  };
  Json renewed = kept();
  renewed.set("lease_id", "l1");
  renewed.set("lease_expires_at", to_rfc3339(unix_ms_now() + 60'000));
  EXPECT_EQ(outcome(200, renewed.dump()), "");
  EXPECT_EQ(peer_.asked[0].find("lease_id")->as_string(), "l1");
  EXPECT_EQ(peer_.asked[0].find("key_release_jwk"), nullptr) << "a renewal asks for no key";
  EXPECT_EQ(outcome(403, denied("contract_revoked").dump()), "contract_revoked");
  EXPECT_EQ(outcome(200, denied("contract_expired").dump()), "contract_expired");
  EXPECT_EQ(outcome(403, denied("of a proxy").dump()), "control_plane_unavailable");
  EXPECT_EQ(outcome(403, "<html>"), "control_plane_unavailable");
  EXPECT_EQ(outcome(401, ""), "control_plane_unavailable");
  EXPECT_EQ(outcome(200, "{}"), "control_plane_unavailable");
  EXPECT_EQ(outcome(500, ""), "control_plane_unavailable");
  renewed.set("lease_id", "l2");
  EXPECT_EQ(outcome(200, renewed.dump()), "control_plane_unavailable") << "another lease";
}

TEST_F(AuthorizerTest, ReleaseNeverThrows) {
  EXPECT_FALSE(make().release("l1"));
  EXPECT_TRUE(make().release(""));
  says(200, Json::object());
  EXPECT_TRUE(make().release("l1"));
  EXPECT_EQ(peer_.asked.back().find("lease_id")->as_string(), "l1");
}

TEST_F(AuthorizerTest, WhatEndsTheUseOfAModel) {
  for (const char* reason : {"contract_suspended", "licence_denied", "lease_expired", "tag_mismatch", "mac_mismatch",
                             "ciphertext_truncated", "authorize_answer_malformed", "jwe_refused"}) {
    EXPECT_TRUE(is_final(Error(reason, ""))) << reason;
  }
  for (const char* reason : {"control_plane_unavailable", "network_unreachable", "blob_unavailable", "disk_full",
                             "runtime_failed", "cancelled"}) {
    EXPECT_FALSE(is_final(Error(reason, ""))) << reason;
  }
}

Lease lease_of(std::int64_t left_ms, std::int64_t grace_ms) {
  Lease lease;
  lease.lease_id = "l1";
  lease.expires_boot_ms = boot_ms_now() + left_ms;
  lease.renew_after_ms = 20;
  lease.offline_grace_ms = grace_ms;
  return lease;
}

std::string reason_within(const LeaseKeeper& keeper, int ms) {
  for (const std::int64_t end = boot_ms_now() + ms; boot_ms_now() < end;) {
    try {
      keeper.check();
    } catch (const Error& error) {
      return error.reason;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return "";
}

TEST_F(AuthorizerTest, AnUnreachableControlPlaneEndsTheLeaseAtItsTimeAndItsGrace) {
  Authorizer authorizer = make();
  const std::int64_t began = boot_ms_now();
  const LeaseKeeper keeper(authorizer, lease_of(200, 300), {}, {});
  EXPECT_EQ(reason_within(keeper, 20'000), "lease_expired");
  EXPECT_GE(boot_ms_now() - began, 500);
  EXPECT_TRUE(keeper.view().renewal_failing);
}

TEST_F(AuthorizerTest, ADenialEndsItAtOnce) {
  says(403, denied("contract_suspended"));
  Authorizer authorizer = make();
  const LeaseKeeper keeper(authorizer, lease_of(3'600'000, 0), {}, {});
  EXPECT_EQ(reason_within(keeper, 20'000), "contract_suspended");
}

TEST_F(AuthorizerTest, RenewalsMoveTheEndAndBringUrls) {
  says([](const Json&) {
    Json out = kept();
    out.set("lease_id", "l1");
    out.set("lease_expires_at", to_rfc3339(unix_ms_now() + 3'600'000));
    out.set("renew_after_seconds", 1);
    return answer(200, out);
  });
  Authorizer authorizer = make();
  std::atomic<int> urls = 0;
  const auto on_url = [&](const blob::DatedUrl& dated) { urls += dated.url.empty() ? 0 : 1; };
  const LeaseKeeper keeper(authorizer, lease_of(60'000, 0), on_url, {});
  for (int i = 0; i < 4000 && keeper.view().renewals < 2; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_GE(keeper.view().renewals, 2U);
  EXPECT_GE(urls, 1);
  EXPECT_GT(keeper.left_ms(), 3'000'000);
}

TEST_F(AuthorizerTest, TheUrlsEndIsInOurClockByTheServersOwnTimes) {
  says([](const Json& asked) {
    Json out = wrapped(asked);
    out.set("expires_at", "2030-01-01T01:00:00Z");
    return answer(200, out);
  });
  const std::int64_t before = boot_ms_now();
  const Lease lease = make().authorize({}).lease;
  ASSERT_TRUE(lease.urls_expire_boot_ms);
  EXPECT_GE(*lease.urls_expire_boot_ms, before + 3'600'000);
  EXPECT_LE(*lease.urls_expire_boot_ms, boot_ms_now() + 3'600'000);
}

TEST_F(AuthorizerTest, WithoutIssuedAtTheUrlsEndIsNotKnown) {
  Json old = kept();
  old.set("decryption_key_hex", kHex);
  says(200, old);
  EXPECT_EQ(make(true).authorize({}).lease.urls_expire_boot_ms, std::nullopt);
}

TEST_F(AuthorizerTest, ARenewalForOneUrlBringsTheOtherToo) {
  says([](const Json&) {
    Json out = kept();
    out.set("lease_id", "l1");
    out.set("issued_at", "2030-01-01T00:00:00Z");
    out.set("expires_at", "2030-01-01T00:00:05Z");
    out.set("lease_expires_at", "2030-01-01T00:05:00Z");
    return answer(200, out);
  });
  Authorizer authorizer = make();
  Lease lease = lease_of(60'000, 0);
  lease.renew_after_ms = 3'600'000;
  std::vector<std::string> urls;
  LeaseKeeper keeper(authorizer, lease, [&](const blob::DatedUrl& dated) { urls.push_back(dated.url.printable()); },
                     {});
  const std::int64_t before = boot_ms_now();
  const blob::DatedUrl manifest = keeper.renew_manifest_url({});
  EXPECT_EQ(manifest.url.printable(), "https://blobs.example/n");
  ASSERT_TRUE(manifest.expires_boot_ms);
  EXPECT_GE(*manifest.expires_boot_ms, before + 5000);
  EXPECT_EQ(urls, std::vector<std::string>{"https://blobs.example/m"});
  EXPECT_EQ(keeper.renew_url({}).url.printable(), "https://blobs.example/m");
  EXPECT_EQ(urls.size(), 1U);
}

}  // namespace
}  // namespace tb::sentinel
