// How a sentinel holds its lease: a proof with every request, the control plane's clock, renewal tokens, grants.
// spec: wire 1.1
#include <gtest/gtest.h>

#include <condition_variable>
#include <filesystem>

#include "api/grant.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/fs.h"
#include "jose/proof.h"
#include "jose/sealed_key.h"
#include "jose/statement.h"
#include "sentinel/authorizer.h"
#include "sentinel/lease_keeper.h"

namespace tb::sentinel {
namespace {

constexpr async::BackoffPolicy kQuick{.first_ms = 1, .factor = 1, .max_ms = 1, .jitter = 0, .attempts = 4};
constexpr UnixMs kServerNow = 1900000000000;  // years from this machine's clock
const std::string kUrl = "https://cp.example/api/v1/license/authorize";

/// A control plane with its own clock and identity key, which answers what is asked and signs it, unless a test spoils
/// the grant or loses the answer.
struct ControlPlane {
  Ed25519PrivateKey identity = Ed25519PrivateKey::generate();
  std::function<void(api::LeaseGrant&)> spoil_grant;
  std::function<std::optional<http::ClientResponse>(const Json& asked)> instead;
  std::int64_t clock_seconds = kServerNow / 1000;
  std::string bearer = "tba_x";
  std::string store = "https://blobs.example";
  bool with_grant = true;
  int tokens = 0;
  std::vector<Json> asked;
  std::vector<jose::Proof> proofs;

  http::ClientResponse operator()(const http::ClientRequest& request) {
    asked.push_back(Json::parse(std::get<std::string>(request.body)).value());
    jose::Proof proof;
    try {
      proof = jose::verify_proof(
          request.headers.get("DPoP"),
          {.method = request.method, .url = kUrl, .now_seconds = clock_seconds, .bearer_token = bearer});
    } catch (const Error& error) {
      auto problem = http::problem(error);
      problem.headers.set("Date", "Sun, 17 Mar 2030 17:46:40 GMT");
      return {.status = problem.status, .headers = problem.headers, .body = problem.body};
    }
    proofs.push_back(proof);
    if (instead) {
      if (auto other = instead(asked.back())) return std::move(*other);
    }
    return {.status = 200, .headers = {}, .body = answer(asked.back(), proof).dump()};
  }

  Json answer(const Json& from, const jose::Proof& proof) {
    const std::string lease =
        from.find("lease_id") ? from.find("lease_id")->as_string() : "l" + std::to_string(asked.size());
    api::AuthorizeAnswer out;
    out.sas_url = SecretUrl(store + "/m?sig=x");
    out.manifest_url = SecretUrl("https://blobs.example/n?sig=x");
    out.expires_at = kServerNow + 3600000;
    out.lease_id = lease;
    out.issued_at = kServerNow;
    out.lease_expires_at = kServerNow + 300000;
    out.renew_after_seconds = 100;
    out.renewal_token = SecretString("token-" + std::to_string(++tokens));
    out.policy = api::ReleasePolicy();
    api::LeaseGrant grant;
    grant.contract_id = "c1";
    grant.asset_id = "a1";
    grant.lease_id = lease;
    grant.policy.allowed_paths = {"/v1/models"};
    grant.url_origins = {"https://blobs.example"};
    grant.proof_jti = proof.jti;
    grant.issued_at = *out.issued_at;
    grant.expires_at = *out.lease_expires_at;
    if (const Json* jwk = from.find("key_release_jwk")) {
      const auto recipient = jose::PublicKey::from_jwk(*jwk);
      grant.key_thumbprint = recipient.thumbprint();
      out.wrapped_key = jose::seal_key(
          recipient, {{"contract_id", Json("c1")}, {"asset_id", Json("a1")}, {"lease_id", Json(lease)}}, random_key());
    }
    if (spoil_grant) spoil_grant(grant);
    if (with_grant) out.grant = jose::sign(identity, api::kGrantType, grant.to_json().dump());
    return out.to_json();
  }
};

class Renewal : public testing::Test {
 protected:
  Renewal() {
    std::filesystem::create_directories(dir_);
    write_token("tba_x\n");
  }
  ~Renewal() override { std::filesystem::remove_all(dir_); }
  void write_token(const std::string& text) const {
    value_or_throw(write_file_atomically(token_file_, text, 0600, true));
  }
  std::string key_line() const { return "# control-plane-key " + to_base64url(peer_.identity.public_key()) + "\n"; }
  Authorizer make(std::optional<Ed25519PublicKey> pinned = std::nullopt) {
    return Authorizer({.endpoint = "https://cp.example",
                       .contract_id = "c1",
                       .asset_id = "a1",
                       .hw_id = "hw",
                       .client_version = "1",
                       .activation_token_file = token_file_,
                       .plain_key_allowed = false,
                       .control_plane_key = pinned},
                      key_, std::ref(peer_), kQuick);
  }
  static std::string reason_of(const std::function<void()>& action) {
    try {
      action();
      return "";
    } catch (const Error& error) {
      return error.reason;
    }
  }
  static Holding holding(Lease& lease) {
    return {.lease_id = lease.lease_id, .renewal_token = std::move(lease.renewal_token), .unanswered = 0};
  }
  static http::ClientResponse denied(const char* reason, std::int64_t retry_after_seconds = 0) {
    Json body = Json::object();
    body.set("status", "denied");
    body.set("reason", reason);
    if (retry_after_seconds > 0) body.set("retry_after_seconds", retry_after_seconds);
    return {.status = 403, .headers = {}, .body = body.dump()};
  }
  std::string shown(std::size_t request) const {
    const Json* token = peer_.asked.at(request).find("renewal_token");
    return token == nullptr ? "" : token->as_string();
  }

  const std::string dir_ = testing::TempDir() + "tb-renewal-" + random_token(8);
  const std::string token_file_ = dir_ + "/token";
  ControlPlane peer_;
  const jose::PrivateKey key_ = jose::PrivateKey::generate();
};

TEST_F(Renewal, AClockThatIsYearsWrongDoesNotMatter) {
  Authorizer authorizer = make();
  Authorization granted = authorizer.authorize({});
  ASSERT_EQ(peer_.asked.size(), 2U) << "once refused as stale, then by the time of that answer";
  EXPECT_EQ(peer_.proofs.at(0).key, key_.public_key());
  Holding held = holding(granted.lease);
  authorizer.renew(held, {});
  EXPECT_EQ(peer_.asked.size(), 3U) << "the time is kept";
  EXPECT_NE(peer_.proofs.at(0).jti, peer_.proofs.at(1).jti);
}

TEST_F(Renewal, AProofThatIsNotTakenIsAskedOnceMoreOnly) {
  peer_.clock_seconds -= 1000000;
  EXPECT_EQ(reason_of([&] { make().authorize({}); }), "control_plane_unavailable") << "its Date is not its clock";
  EXPECT_EQ(peer_.asked.size(), 8U) << "each of the four attempts once more, with the time of its answer";
}

TEST_F(Renewal, AProofForAnotherAddressIsFinalAndNamed) {
  peer_.bearer = "another";
  EXPECT_EQ(reason_of([&] { make().authorize({}); }), "proof_refused");
}

TEST_F(Renewal, EachRenewalShowsTheNewestToken) {
  Authorizer authorizer = make();
  Authorization granted = authorizer.authorize({});
  Holding held = holding(granted.lease);
  for (int i = 0; i < 3; ++i) authorizer.renew(held, {});
  EXPECT_EQ(shown(2), "token-1");
  EXPECT_EQ(shown(3), "token-2");
  EXPECT_EQ(shown(4), "token-3");
}

TEST_F(Renewal, ALostAnswerIsAskedForOnceMoreAndThenANewLeaseIsBegun) {
  Authorizer authorizer = make();
  Authorization granted = authorizer.authorize({});
  Holding held = holding(granted.lease);
  peer_.instead = [](const Json&) -> std::optional<http::ClientResponse> {
    throw Error("network_unreachable", "the answer was lost");
  };
  EXPECT_EQ(reason_of([&] { authorizer.renew(held, {}); }), "control_plane_unavailable");
  EXPECT_EQ(reason_of([&] { authorizer.renew(held, {}); }), "control_plane_unavailable");
  EXPECT_EQ(peer_.asked.at(2).dump(), peer_.asked.at(3).dump()) << "the very same request";
  EXPECT_EQ(reason_of([&] { authorizer.renew(held, {}); }), "control_plane_unavailable");
  EXPECT_EQ(peer_.asked.at(4).find("lease_id"), nullptr) << "a third showing would look like a clone";
  peer_.instead = nullptr;
  const Lease anew = authorizer.renew(held, {});
  EXPECT_EQ(anew.lease_id, held.lease_id);
  EXPECT_NE(anew.lease_id, "l2");
  authorizer.renew(held, {});
  EXPECT_EQ(peer_.asked.back().find("lease_id")->as_string(), anew.lease_id);
}

TEST_F(Renewal, ARefusalThatTheControlPlaneSaysItselfIsNoLostAnswer) {
  Authorizer authorizer = make();
  Authorization granted = authorizer.authorize({});
  Holding held = holding(granted.lease);
  peer_.instead = [](const Json&) {
    const auto busy = http::problem(Error("database_busy", "try again"));
    return std::optional(http::ClientResponse{.status = busy.status, .headers = {}, .body = busy.body});
  };
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(reason_of([&] { authorizer.renew(held, {}); }), "control_plane_unavailable");
    EXPECT_EQ(shown(peer_.asked.size() - 1), "token-1");
  }
}

TEST_F(Renewal, ADenialAtANewBeginningIsADenial) {
  Authorizer authorizer = make();
  Authorization granted = authorizer.authorize({});
  Holding held = holding(granted.lease);
  held.unanswered = 2;
  peer_.instead = [](const Json&) { return std::optional(denied("contract_suspended")); };
  EXPECT_EQ(reason_of([&] { authorizer.renew(held, {}); }), "contract_suspended");
  peer_.instead = [](const Json&) {
    return std::optional(http::ClientResponse{.status = 403, .headers = {}, .body = "<html>"});
  };
  EXPECT_EQ(reason_of([&] { authorizer.renew(held, {}); }), "control_plane_unavailable");
}

TEST_F(Renewal, SeatLimitSaysWhenToAskAgain) {
  Authorizer authorizer = make();
  EXPECT_EQ(authorizer.ask_again_ms(), std::nullopt);
  peer_.instead = [](const Json&) { return std::optional(denied("seat_limit", 42)); };
  EXPECT_EQ(reason_of([&] { authorizer.authorize({}); }), "seat_limit");
  EXPECT_EQ(authorizer.ask_again_ms(), 42000);
  peer_.instead = [](const Json&) { return std::optional(denied("contract_suspended")); };
  EXPECT_EQ(reason_of([&] { authorizer.authorize({}); }), "contract_suspended");
  EXPECT_EQ(authorizer.ask_again_ms(), std::nullopt);
}

TEST_F(Renewal, WithThePinnedKeyTheGrantDecides) {
  Authorization granted = make(peer_.identity.public_key()).authorize({});
  EXPECT_EQ(granted.lease.allowed_paths, std::vector<std::string>{"/v1/models"})
      << "what stands beside it does not count";
  EXPECT_TRUE(make().authorize({}).lease.allowed_paths.empty()) << "nobody pinned a key";
  write_token("tba_x\n" + key_line());
  EXPECT_FALSE(make().authorize({}).lease.allowed_paths.empty()) << "it came with the token";
}

TEST_F(Renewal, AGrantThatIsNotOfThisAnswerIsRefused) {
  const auto refused = [&](std::function<void(api::LeaseGrant&)> spoil) {
    peer_.spoil_grant = std::move(spoil);
    return reason_of([&] { make(peer_.identity.public_key()).authorize({}); });
  };
  EXPECT_EQ(refused([](auto&) {}), "");
  EXPECT_EQ(refused([](auto& g) { g.contract_id = "c2"; }), "grant_refused");
  EXPECT_EQ(refused([](auto& g) { g.asset_id = "a2"; }), "grant_refused");
  EXPECT_EQ(refused([](auto& g) { g.lease_id = "l0"; }), "grant_refused");
  EXPECT_EQ(refused([](auto& g) { g.proof_jti = "an-older-request"; }), "grant_refused");
  EXPECT_EQ(refused([](auto& g) { g.key_thumbprint = ""; }), "grant_refused");
  EXPECT_EQ(refused([](auto& g) { g.nonce = "n"; }), "grant_refused");
  EXPECT_EQ(refused([](auto& g) { g.manifest_sha256 = std::string(64, 'a'); }), "grant_refused");
  EXPECT_EQ(refused([](auto& g) { g.issued_at += 1000; }), "grant_refused");
  EXPECT_EQ(refused([](auto& g) { g.expires_at -= 1000; }), "grant_refused");
  EXPECT_EQ(refused([](auto& g) { g.offline_grace_seconds = 60; }), "grant_refused");
  EXPECT_EQ(refused([](auto& g) { g.url_origins = {"https://other.example"}; }), "grant_refused");
  EXPECT_EQ(refused([](auto& g) { g.url_origins.clear(); }), "grant_refused");
}

TEST_F(Renewal, WithoutAGrantThatVerifiesNothingIsServed) {
  const auto other = Ed25519PrivateKey::generate();
  EXPECT_EQ(reason_of([&] { make(other.public_key()).authorize({}); }), "grant_refused");
  peer_.with_grant = false;
  EXPECT_EQ(reason_of([&] { make(peer_.identity.public_key()).authorize({}); }), "grant_refused");
  EXPECT_EQ(reason_of([&] { make().authorize({}); }), "");
  write_token("tba_x\n# control-plane-key AAAA\n");
  EXPECT_EQ(reason_of([&] { make().authorize({}); }), "public_key_malformed");
}

TEST_F(Renewal, ABadGrantAtARenewalIsAnAnswerThatDidNotCome) {
  Authorizer authorizer = make(peer_.identity.public_key());
  Authorization granted = authorizer.authorize({});
  Holding held = holding(granted.lease);
  peer_.spoil_grant = [](auto& g) { g.proof_jti = "an-older-request"; };
  EXPECT_EQ(reason_of([&] { authorizer.renew(held, {}); }), "control_plane_unavailable");
}

TEST_F(Renewal, AUrlOfAnotherStoreIsRefused) {
  peer_.store = "https://elsewhere.example";
  EXPECT_EQ(reason_of([&] { make(peer_.identity.public_key()).authorize({}); }), "grant_refused");
}

TEST_F(Renewal, WhatTheHolderReportsGoesWithItsTokenAndProof) {
  std::vector<http::ClientRequest> reports;
  int status = 200;
  Authorizer authorizer(
      {.endpoint = "https://cp.example",
       .contract_id = "c1",
       .asset_id = "a1",
       .hw_id = "hw",
       .client_version = "1",
       .activation_token_file = token_file_},
      key_,
      [&](const http::ClientRequest& request) -> http::ClientResponse {
        if (request.url.reveal() == kUrl) return peer_(request);
        EXPECT_EQ(request.bearer->reveal(), "tba_x");
        EXPECT_FALSE(request.headers.get("DPoP").empty());
        EXPECT_GT(request.total_timeout_ms, 0) << "a slow control plane must not hold a reporter";
        EXPECT_EQ(std::get<std::string>(request.body), "text");
        EXPECT_EQ(request.headers.get("Content-Type"), "text/plain");
        EXPECT_EQ(request.url.reveal(), "https://cp.example/api/v1/usage?x=1");
        return {.status = status, .headers = {}, .body = "said"};
      },
      kQuick);
  EXPECT_EQ(authorizer.last_lease_id(), "");
  Authorization granted = authorizer.authorize({});
  EXPECT_EQ(authorizer.last_lease_id(), granted.lease.lease_id);
  for (const int said : {200, 409, 500}) {
    status = said;
    const auto answer = authorizer.post_as_holder("/api/v1/usage?x=1", "text", "text/plain", {});
    EXPECT_EQ(answer.status, said) << "any status is for the caller to read";
    EXPECT_EQ(answer.body, "said");
  }
  Holding held = holding(granted.lease);
  held.unanswered = 2;
  const Lease anew = authorizer.renew(held, {});
  EXPECT_EQ(authorizer.last_lease_id(), anew.lease_id) << "a lease that was begun anew";
}

TEST_F(Renewal, AHintMovesTheNextRenewalToNow) {
  // All of it is behind the mutex of the peer: the keeper asks from two threads.
  std::mutex mutex;
  std::condition_variable changed;
  int renewals = 0;
  std::string listened;
  Authorizer authorizer(
      {.endpoint = "https://cp.example",
       .contract_id = "c1",
       .asset_id = "a1",
       .hw_id = "hw",
       .client_version = "1",
       .activation_token_file = ""},
      key_,
      [&](const http::ClientRequest& request) -> http::ClientResponse {
        std::unique_lock lock(mutex);
        if (request.method == "GET") {
          listened = request.url.reveal();
          EXPECT_FALSE(request.headers.get("DPoP").empty());
          return {.status = 200, .headers = {}, .body = R"({"changed":true})"};
        }
        ++renewals;
        changed.notify_all();
        return denied("contract_suspended");
      },
      kQuick);
  Lease lease;
  lease.lease_id = "l1";
  lease.policy_version = 3;
  lease.expires_boot_ms = boot_ms_now() + 3'600'000;
  lease.renew_after_ms = 3'600'000;
  const std::int64_t before = boot_ms_now();
  const LeaseKeeper keeper(authorizer, lease, {}, {});
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return renewals > 0; });
  }
  while (!keeper.heard_of_denial()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  const HeardOf heard = *keeper.heard_of_denial();
  EXPECT_LE(before, heard.boot_ms) << "heard of by the hint";
  EXPECT_LE(heard.boot_ms, heard.denied_boot_ms);
  EXPECT_LE(heard.denied_boot_ms, boot_ms_now());
  const std::scoped_lock lock(mutex);
  EXPECT_EQ(listened, "https://cp.example/api/v1/license/events?contract_id=c1&lease_id=l1&policy_version=3");
}

TEST_F(Renewal, ARenewalCanBeBroughtForward) {
  Authorizer authorizer = make();
  Authorization granted = authorizer.authorize({});
  granted.lease.policy_version.reset();  // nobody listens for hints
  granted.lease.renew_after_ms = 3'600'000;
  LeaseKeeper keeper(authorizer, granted.lease, {}, {});
  EXPECT_EQ(keeper.renewals(), 0U);
  EXPECT_FALSE(keeper.heard_of_denial());
  keeper.renew_now();
  while (keeper.renewals() == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  EXPECT_FALSE(keeper.heard_of_denial());
}

TEST_F(Renewal, TheGradeOfAGrantIsTheLeases) {
  peer_.spoil_grant = [](api::LeaseGrant& grant) {
    grant.policy.enforcement = {.grade = api::Grade::kDrain, .notice = "until Friday", .requests_per_minute = 3};
  };
  const Authorization granted = make(peer_.identity.public_key()).authorize({});
  EXPECT_EQ(granted.lease.enforcement.grade, api::Grade::kDrain);
  EXPECT_EQ(granted.lease.enforcement.notice, "until Friday");
  EXPECT_EQ(make().authorize({}).lease.enforcement.grade, api::Grade::kNone) << "what nobody has signed for us";
}

TEST_F(Renewal, AControlPlaneWithoutHintsIsNotAskedAgain) {
  const auto answers = [&](int status, const std::string& body) {
    Authorizer one(
        {.endpoint = "https://cp.example", .contract_id = "c1"}, key_,
        [&](const http::ClientRequest&) { return http::ClientResponse{.status = status, .headers = {}, .body = body}; },
        kQuick);
    bool changed = false;
    const std::string reason = reason_of([&] { changed = one.wait_for_hint("l1", 1, {}); });
    return reason.empty() ? std::string(changed ? "changed" : "unchanged") : reason;
  };
  EXPECT_EQ(answers(200, R"({"changed":true})"), "changed");
  EXPECT_EQ(answers(200, R"({"changed":false})"), "unchanged");
  EXPECT_EQ(answers(404, "{}"), "control_plane_refused");
  EXPECT_EQ(answers(405, "{}"), "control_plane_refused");
  for (const auto* nonsense : {"", "{}", "true", R"({"changed":"true"})", "<html>"}) {
    EXPECT_EQ(answers(200, nonsense), "control_plane_unavailable") << nonsense;
  }
  EXPECT_EQ(answers(403, R"({"changed":true})"), "control_plane_unavailable");
}

}  // namespace
}  // namespace tb::sentinel
