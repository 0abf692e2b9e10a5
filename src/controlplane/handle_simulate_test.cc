// spec: wire 1.2, simulate
#include <random>

#include "controlplane/logged_request.h"
#include "controlplane/service_test.h"

namespace tb::controlplane {
namespace {

class Simulate : public ServiceTest {
 protected:
  Simulate() { register_asset("m"); }
  static Json parsed(const std::string& text) { return value_or_throw(Json::parse(text)); }
  Json ask(const std::string& terms, const std::string& more = "") {
    const auto response = simulate(terms, more);
    EXPECT_EQ(response.status, 200) << response.body;
    return body_of(response);
  }
  http::Response simulate(const std::string& terms, const std::string& more = "") {
    return post("/api/v1/contracts/c/simulate", provider_,
                R"({"terms":)" + terms + R"(,"from":")" + to_rfc3339(now_ - 3600000) + "\"" + more + "}");
  }
  static std::string at(const Json& json, std::initializer_list<std::string_view> path) {
    const Json* node = &json;
    for (const auto name : path) {
      node = node->find(name);
      if (node == nullptr) return "(none)";
    }
    return node->is_string() ? node->as_string() : node->dump();
  }
  std::string asked_by(const std::string& token, const char* hw_id) {
    Json body = authorize_body("c");
    body.set("hw_id", hw_id);
    body.set("key_release_jwk", jose::PrivateKey::generate().public_key().to_jwk());
    const auto response = authorize(token, body);
    return response.status == 200 ? text_of(response, "lease_id") : text_of(response, "reason");
  }
};

TEST_F(Simulate, FewerSeatsWouldHaveRefusedTheSecondSentinel) {
  const std::string token = create_contract("c", parsed(R"({"max_seats":2})"));
  const std::string first = asked_by(token, "hw-1");
  now_ += 1000;
  const std::string second = asked_by(token, "hw-2");
  now_ += 1000;
  EXPECT_EQ(asked_by(token, "hw-3"), "seat_limit");
  const Json fewer = ask(R"({"max_seats":1})");
  EXPECT_EQ(at(fewer, {"replayed"}), "3");
  EXPECT_EQ(at(fewer, {"unlike_the_record"}), "0");
  EXPECT_EQ(at(fewer, {"newly_refused", "by_reason"}), R"({"seat_limit":1})");
  const Json& example = fewer.find("examples")->as_array().at(0);
  EXPECT_EQ(at(example, {"lease_id"}), second);
  EXPECT_EQ(at(example, {"hw_id"}), "hw-2");
  EXPECT_EQ(at(example, {"from"}) + " " + at(example, {"to"}), "granted seat_limit");
  const Json more = ask(R"({"max_seats":3})");
  EXPECT_EQ(at(more, {"newly_allowed", "by_reason"}), R"({"seat_limit":1})");
  EXPECT_EQ(at(more, {"newly_refused", "requests"}), "0");
}

TEST_F(Simulate, RenewalsAndReleasesAreReplayed) {
  const std::string token = create_contract("c");
  const std::string lease = asked_by(token, "hw-1");
  Json renewal = authorize_body("c");
  renewal.set("lease_id", lease);
  now_ += 100000;
  EXPECT_EQ(authorize(token, renewal).status, 200);
  EXPECT_EQ(release(token, "c", lease).status, 200);
  now_ += 1000;
  EXPECT_NE(asked_by(token, "hw-2"), "seat_limit");
  const Json same = ask("{}");
  EXPECT_EQ(at(same, {"replayed"}) + at(same, {"events"}) + at(same, {"unlike_the_record"}), "340");
  const Json newer = ask(R"({"min_client_version":"9.0.0"})");
  EXPECT_EQ(at(newer, {"newly_refused", "requests"}), "3");
  EXPECT_EQ(at(newer, {"newly_refused", "leases"}), "2");
}

TEST_F(Simulate, OnlyTheSpanIsRead) {
  const std::string token = create_contract("c", parsed(R"({"max_seats":5})"));
  asked_by(token, "hw-1");
  now_ += 7200000;
  asked_by(token, "hw-2");
  EXPECT_EQ(at(ask("{}"), {"events"}), "1");
  EXPECT_EQ(at(ask("{}", R"(,"to":")" + to_rfc3339(now_ - 60000) + "\""), {"events"}), "0");
}

TEST_F(Simulate, MayJudgeByTheClockOfNow) {
  const std::string token = create_contract("c");
  asked_by(token, "hw-1");
  now_ += 600000;
  const std::string end = R"({"not_after":")" + to_rfc3339(now_ - 1000) + "\"}";
  EXPECT_EQ(at(ask(end), {"newly_refused", "requests"}), "0");
  EXPECT_EQ(at(ask(end, R"(,"at":"now")"), {"newly_refused", "by_reason"}), R"({"contract_expired":1})");
}

TEST_F(Simulate, QuotasAreHeldAgainstTheUsageOfThatTime) {
  const std::string token = create_contract("c", parsed(R"({"max_seats":5})"));
  const std::string lease = asked_by(token, "hw-1");
  const api::UsageRecord record{.id = api::usage_id("o", 0, 0),
                                .origin = "o",
                                .first_seq = 0,
                                .last_seq = 0,
                                .from = now_,
                                .to = now_,
                                .usage = {{"tokens", 500}}};
  const api::UsageReport report{.contract_id = "c", .lease_id = lease, .records = {record}};
  EXPECT_EQ(post_as(held_[lease].key, "/api/v1/usage", token, report.to_json().dump()).status, 200);
  now_ += 3600000;
  asked_by(token, "hw-2");
  const auto quota = [](int limit, const std::string& period) {
    return R"({"quotas":{"tokens":{"limit":)" + std::to_string(limit) + R"(,"period":")" + period + "\"}}}";
  };
  EXPECT_EQ(at(ask(quota(501, "day")), {"newly_refused", "requests"}), "0");
  EXPECT_EQ(at(ask(quota(500, "day")), {"newly_refused", "by_reason"}), R"({"quota_exhausted":2})");
  EXPECT_EQ(at(ask(quota(500, "total")), {"newly_refused", "requests"}), "2");
}

// What the replay says of the very terms that were in force must be what was answered, whatever sentinels did: those
// that start, renew, stop, come too late, start anew without a word, and are evicted.
TEST_F(Simulate, ReplaysWhatReallyHappened) {
  for (unsigned seed = 1; seed <= 5; ++seed) {
    const std::string id = "c" + std::to_string(seed);
    const std::string token = create_contract(id, parsed(R"({"max_seats":3,"lease_seconds":60})"));
    std::minstd_rand chance(seed);
    std::vector<SentinelKey> keys;
    std::vector<std::string> leases(6);
    for (std::size_t i = 0; i < leases.size(); ++i) keys.push_back(new_sentinel());
    const UnixMs begin = now_;
    int denied = 0;
    for (int step = 0; step < 150; ++step) {
      now_ += static_cast<UnixMs>(chance() % 25000);
      const std::size_t who = chance() % leases.size();
      std::string& lease = leases[who];
      const auto what = chance() % 10;
      if (lease.empty() || what == 0) {
        Json body = authorize_body(id);
        body.set("hw_id", "hw-" + std::to_string(who));
        body.set("key_release_jwk", jose::PrivateKey::generate().public_key().to_jwk());
        const auto response = authorize_as(keys[who], token, body);
        if (response.status == 200) lease = text_of(response, "lease_id");
        denied += response.status == 403 ? 1 : 0;
      } else if (what == 1) {
        release(token, id, lease);
        lease.clear();
      } else if (what == 2) {
        call({.method = "DELETE", .target = "/api/v1/contracts/" + id + "/leases/" + lease, .token = provider_});
      } else {
        Json body = authorize_body(id);
        body.set("hw_id", "hw-" + std::to_string(who));
        body.set("lease_id", lease);
        if (authorize_as(keys[who], token, body).status == 200) continue;
        ++denied;
        lease.clear();
      }
    }
    EXPECT_GT(denied, 10);
    const auto response =
        post("/api/v1/contracts/" + id + "/simulate", provider_, R"({"terms":{},"from":")" + to_rfc3339(begin) + "\"}");
    const Json report = body_of(response);
    EXPECT_GT(std::stoi(at(report, {"replayed"})), 50) << seed;
    EXPECT_EQ(at(report, {"unlike_the_record"}), "0") << seed << " of " << at(report, {"replayed"});
    EXPECT_EQ(at(report, {"newly_refused", "requests"}), "0");
  }
}

TEST_F(Simulate, OneRunsAtATime) {
  create_contract("c");
  {
    const std::lock_guard another(deps_.simulating);
    EXPECT_EQ(text_of(simulate("{}"), "code"), "server_busy");
  }
  EXPECT_EQ(simulate("{}").status, 200);
}

TEST_F(Simulate, ChangesNothing) {
  const std::string token = create_contract("c");
  asked_by(token, "hw-1");
  const std::string before = get("/api/v1/contracts/c", provider_).body + get("/api/v1/events", provider_).body +
                             get("/api/v1/contracts/c/leases", provider_).body;
  ask(R"({"max_seats":7,"hardware":"pin_first"})");
  EXPECT_EQ(get("/api/v1/contracts/c", provider_).body + get("/api/v1/events", provider_).body +
                get("/api/v1/contracts/c/leases", provider_).body,
            before);
}

TEST_F(Simulate, RefusesWhatTheChangeItselfWouldRefuse) {
  create_contract("c");
  const auto code = [&](const std::string& terms, const std::string& more = "") {
    return text_of(simulate(terms, more), "code");
  };
  EXPECT_EQ(code(R"({"max_seats":0})"), "contract_invalid");
  EXPECT_EQ(code(R"({"max_seats":"1"})"), "field_invalid");
  EXPECT_EQ(code(R"({"seats":1})"), "unknown_field");
  EXPECT_EQ(code(R"({"authentication":"none"})"), "contract_invalid");
  EXPECT_EQ(code(R"({"contract_id":"d"})"), "unknown_field");
  EXPECT_EQ(code("[]"), "field_invalid");
  EXPECT_EQ(code("{}", R"(,"at":"then")"), "field_invalid");
  EXPECT_EQ(code("{}", R"(,"to":"1970-01-01T00:00:00Z")"), "field_invalid");
  EXPECT_EQ(code("{}", R"(,"more":1)"), "unknown_field");
  EXPECT_EQ(text_of(post("/api/v1/contracts/c/simulate", provider_, R"({"terms":{}})"), "code"), "field_missing");
  EXPECT_EQ(text_of(post("/api/v1/contracts/none/simulate", provider_, "{}"), "code"), "contract_not_found");
}

TEST_F(Simulate, FactsComeBackAsTheyWereWritten) {
  Facts facts;
  facts.now = now_;
  facts.asset_registered = facts.proven = facts.is_renewal = facts.evidence_came = facts.attested = true;
  facts.nonce_valid = false;
  facts.pin = store::HardwarePin{.hw_id = "h", .approved = true};
  facts.used = {{"tokens", 7}};
  facts.url_seconds = 60;
  api::Contract contract;
  contract.state = api::ContractState::kSuspended;
  const ShownCredential shown{.token = true, .certificate_sha256 = std::string(64, 'a')};
  Json detail = Json::object();
  detail.set("asset_id", "m");
  detail.set("hw_id", "h");
  detail.set("lease_id", "l");
  detail.set("facts", facts_to_json(facts, shown, contract));
  Json event = Json::object();
  event.set("ts", to_rfc3339(now_ + 5, true));
  event.set("type", "lease_renewed");
  event.set("detail", detail);
  const auto read = parse_logged_request(4, event.dump());
  ASSERT_TRUE(read && read->has_facts);
  EXPECT_EQ(facts_to_json(read->facts, read->shown, contract).dump(), detail.find("facts")->dump());
  EXPECT_EQ(read->state, api::ContractState::kSuspended);
  EXPECT_EQ(read->at, now_);

  for (const char* bad : {R"({})", R"({"now":1})", R"([])", R"({"now":"2026-01-01T00:00:00Z","state":"odd"})"}) {
    detail.set("facts", parsed(bad));
    event.set("detail", detail);
    const auto without = parse_logged_request(4, event.dump());
    ASSERT_TRUE(without) << bad;
    EXPECT_FALSE(without->has_facts) << bad;
    EXPECT_EQ(without->lease_id, "l");
  }
  event.set("type", "contract_created");
  EXPECT_FALSE(parse_logged_request(4, event.dump()));
  for (const char* bad :
       {"", "[]", "{}", R"({"type":"lease_renewed"})", R"({"type":"lease_renewed","ts":"x","detail":{}})",
        R"({"type":"lease_renewed","ts":"2026-01-01T00:00:00Z"})",
        R"({"type":"lease_renewed","ts":"2026-01-01T00:00:00Z","detail":{"lease_id":1}})"}) {
    EXPECT_THROW(parse_logged_request(4, bad), Error) << bad;
  }
}

}  // namespace
}  // namespace tb::controlplane
