// GET /api/v1/license/events and the board behind it. spec: wire 1.2
#include <gtest/gtest.h>

#include <future>

#include "controlplane/housekeeping.h"
#include "controlplane/service_test.h"

namespace tb::controlplane {
namespace {

class Hints : public ServiceTest {
 protected:
  Hints() {
    register_asset("m");
    Json terms = Json::object();
    terms.set("max_seats", 9);
    token_ = create_contract("c", terms);
  }
  struct Sentinel {
    SentinelKey key;
    std::string lease_id;
  };
  Sentinel start() {
    Sentinel out{.key = new_sentinel(), .lease_id = ""};
    Json body = authorize_body("c");
    body.set("key_release_jwk", jose::PrivateKey::generate().public_key().to_jwk());
    out.lease_id = text_of(authorize_as(out.key, token_, body), "lease_id");
    return out;
  }
  http::Response listen(const Sentinel& sentinel, const std::string& version = "1", const std::string& contract = "c") {
    return call({.target = std::string(kPath) + "?contract_id=" + contract + "&lease_id=" + sentinel.lease_id +
                           "&policy_version=" + version,
                 .token = token_,
                 .body = "",
                 .headers = {{"DPoP", proof(sentinel.key, kPath, token_, "GET")}}});
  }
  /// What a client that waits is told in the end.
  static std::string told(const http::Response& response) {
    if (!response.late) return response.body;
    std::promise<void> woken;
    response.late->when_completed([&] { woken.set_value(); });
    woken.get_future().wait();
    return response.late->take().body;
  }

  static constexpr const char* kPath = "/api/v1/license/events";
  static constexpr const char* kChanged = R"({"changed":true})";
  std::string token_;
};

TEST_F(Hints, AChangeIsToldToAllWhoWaitForTheContract) {
  const auto first = start();
  const auto second = start();
  const auto a = listen(first);
  const auto b = listen(second);
  ASSERT_TRUE(a.late && b.late);
  post("/api/v1/contracts/c/suspend", provider_);
  EXPECT_EQ(told(a), kChanged);
  EXPECT_EQ(told(b), kChanged);
  EXPECT_EQ(listen(first).body, kChanged) << "who knows an older version waits for nothing";
  EXPECT_TRUE(listen(first, "2").late != nullptr);
}

TEST_F(Hints, AnEvictionIsToldToo) {
  const auto sentinel = start();
  const auto waiting = listen(sentinel);
  ASSERT_TRUE(waiting.late);
  call({.method = "DELETE", .target = "/api/v1/contracts/c/leases/" + sentinel.lease_id, .token = provider_});
  EXPECT_EQ(told(waiting), kChanged);
  EXPECT_EQ(listen(sentinel).body, kChanged) << "its lease is over: it learns so by renewing";
}

TEST_F(Hints, AChangeByAnotherNodeIsSeen) {
  const auto waiting = listen(start());
  ASSERT_TRUE(waiting.late);
  // As another node would: past this one's handlers.
  store_->set_contract_state("t1", "c", api::ContractState::kRevoked, now_,
                             {.type = "contract_revoked", .tenant = "t1", .actor = "x", .subject = "c"});
  EXPECT_EQ(told(waiting), kChanged);
}

TEST_F(Hints, WaitersAreBoundedAndOneForEachSentinel) {
  std::vector<http::Response> waiting;
  const auto first = start();
  const auto older = listen(first);
  waiting.push_back(listen(first));
  EXPECT_EQ(told(older), R"({"changed":false})") << "a sentinel that asks again waits once";
  waiting.push_back(listen(start()));
  waiting.push_back(listen(start()));
  const auto one_too_many = start();
  EXPECT_EQ(text_of(listen(one_too_many), "code"), "server_busy");
  waiting.pop_back();
  EXPECT_TRUE(listen(one_too_many).late != nullptr) << "one that went away makes room";
}

TEST_F(Hints, OnlyAHolderWhoProvesItWaits) {
  const auto sentinel = start();
  const std::string query = "?contract_id=c&policy_version=1&lease_id=" + sentinel.lease_id;
  EXPECT_EQ(text_of(get(kPath + query, "wrong"), "reason"), "authentication_required");
  EXPECT_EQ(text_of(get(kPath + query, token_), "reason"), "client_too_old");
  EXPECT_EQ(listen({.key = new_sentinel(), .lease_id = sentinel.lease_id}).body, kChanged);
  EXPECT_EQ(listen({.key = sentinel.key, .lease_id = "none"}).body, kChanged);
  EXPECT_EQ(text_of(listen(sentinel, "1", "d"), "reason"), "authentication_required");
  for (const auto* bad :
       {"?contract_id=c&lease_id=l", "?contract_id=c&policy_version=1", "?lease_id=l&policy_version=1"}) {
    EXPECT_EQ(text_of(get(std::string(kPath) + bad, token_), "code"), "field_missing") << bad;
  }
  for (const auto* version : {"", "-1", "x", "1x", "99999999999999999999"}) {
    EXPECT_EQ(text_of(listen(sentinel, version), "code"), "field_invalid") << version;
  }
  EXPECT_EQ(text_of(get(kPath + query + "&x=1", token_), "code"), "bad_query");
  EXPECT_EQ(text_of(get(kPath + query + "&lease_id=l", token_), "code"), "bad_query");
}

TEST_F(Hints, HousekeepingTakesAwayWhatIsOver) {
  start();
  UnixMs later = now_ + store::kRetentionMs + 86400000;
  purge_all(*store_, [&] { return later; }, {}, {});
  EXPECT_TRUE(store_->list_leases("t1", "c", "", 10).empty());
}

}  // namespace
}  // namespace tb::controlplane
