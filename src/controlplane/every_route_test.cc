// Every route against every caller who may not, and against every kind of broken body.
#include "controlplane/every_route_test.h"

#include <algorithm>

namespace tb::controlplane {

void EveryRouteTest::SetUp() {
  register_asset("m");
  const auto patch = [](std::string_view name, Json value) {
    Json json = Json::object();
    json.set(name, std::move(value));
    return json;
  };
  activation_token_ = create_contract("c1", patch("key_release", "plain"));
  create_contract("c2", patch("hardware", "pin_first"));
  lease_id_ = text_of(authorize(activation_token_, authorize_body("c1")), "lease_id");
  ASSERT_GT(lease_id_.size(), 10U);
}

std::vector<EveryRouteTest::Sample> EveryRouteTest::samples() {
  Json contract = Json::object();
  contract.set("contract_id", "c9");
  contract.set("consumer", "acme");
  contract.set("asset_ids", Json(Json::Array{"m"}));
  contract.set("not_after", to_rfc3339(now_ + 86400000));
  Json seats = Json::object();
  seats.set("max_seats", 2);
  Json simulation = Json::object();
  simulation.set("terms", seats);
  simulation.set("from", to_rfc3339(now_ - 1000));
  simulation.set("to", to_rfc3339(now_ + 1000));
  simulation.set("at", "event");
  const std::string license = R"({"contract_id":"c1"})";
  const std::string release = R"({"contract_id":"c1","lease_id":")" + lease_id_ + "\"}";
  return {
      {"POST", "/api/v1/license/authorize", "/api/v1/license/authorize", authorize_body("c1").dump()},
      {"POST", "/api/v1/license/release", "/api/v1/license/release", release},
      {"POST", "/api/v1/license/challenge", "/api/v1/license/challenge", license},
      {"GET", "/api/v1/license/events",
       "/api/v1/license/events?contract_id=c1&lease_id=" + lease_id_ + "&policy_version=1", ""},
      {"POST", "/api/v1/license/enroll", "/api/v1/license/enroll",
       R"({"contract_id":"c1","ek_public":"AAAA","ak_public":"AAAA"})"},
      {"POST", "/api/v1/license/activate", "/api/v1/license/activate",
       R"({"contract_id":"c1","ak_name":"000b)" + std::string(64, '0') + R"(","secret":"AAAA"})"},
      {"GET", "/api/v1/contracts/{id}/machines", "/api/v1/contracts/c2/machines", ""},
      {"POST", "/api/v1/contracts/{id}/machines", "/api/v1/contracts/c2/machines",
       R"({"approve":")" + std::string(64, 'a') + "\"}"},
      {"POST", "/api/v1/usage", "/api/v1/usage", usage_report().to_json().dump()},
      {"POST", "/api/v1/audit/checkpoints", "/api/v1/audit/checkpoints?contract_id=c1&lease_id=" + lease_id_,
       audit_checkpoint()},
      {"POST", "/api/v1/assets/register", "/api/v1/assets/register", register_body("m").dump()},
      {"GET", "/api/v1/assets", "/api/v1/assets", ""},
      {"GET", "/api/v1/assets/{id}", "/api/v1/assets/m", ""},
      {"DELETE", "/api/v1/assets/{id}", "/api/v1/assets/m", ""},
      {"PUT", "/api/v1/assets/{id}/blobs/{kind}", "/api/v1/assets/m/blobs/ciphertext", ciphertext_},
      {"GET", "/api/v1/keys/wrapping", "/api/v1/keys/wrapping", ""},
      {"POST", "/api/v1/contracts", "/api/v1/contracts", contract.dump()},
      {"GET", "/api/v1/contracts", "/api/v1/contracts", ""},
      {"GET", "/api/v1/contracts/{id}", "/api/v1/contracts/c1", ""},
      {"PATCH", "/api/v1/contracts/{id}", "/api/v1/contracts/c1", seats.dump()},
      {"POST", "/api/v1/contracts/{id}/suspend", "/api/v1/contracts/c1/suspend", ""},
      {"POST", "/api/v1/contracts/{id}/resume", "/api/v1/contracts/c1/resume", ""},
      {"POST", "/api/v1/contracts/{id}/revoke", "/api/v1/contracts/c1/revoke", ""},
      {"POST", "/api/v1/contracts/{id}/simulate", "/api/v1/contracts/c1/simulate", simulation.dump()},
      {"POST", "/api/v1/contracts/{id}/activation-token", "/api/v1/contracts/c1/activation-token",
       R"({"expires_in_seconds":60})"},
      {"POST", "/api/v1/contracts/{id}/hardware", "/api/v1/contracts/c2/hardware", R"({"approve":"hw-1"})"},
      {"GET", "/api/v1/contracts/{id}/leases", "/api/v1/contracts/c1/leases", ""},
      {"DELETE", "/api/v1/contracts/{id}/leases/{lease}", "/api/v1/contracts/c1/leases/" + lease_id_, ""},
      {"GET", "/api/v1/contracts/{id}/audit-logs", "/api/v1/contracts/c1/audit-logs", ""},
      {"GET", "/api/v1/usage", "/api/v1/usage", ""},
      {"GET", "/api/v1/events", "/api/v1/events", ""},
      {"GET", "/api/v1/events/{seq}/proof", "/api/v1/events/4/proof", ""},
      {"GET", "/api/v1/log/checkpoint", "/api/v1/log/checkpoint", ""},
      {"GET", "/api/v1/log/consistency", "/api/v1/log/consistency?from=1", ""},
      {"GET", "/api/v1/log/tile/{level}/{a}", "/api/v1/log/tile/0/000", ""},
      {"GET", "/api/v1/log/tile/{level}/{a}/{b}", "/api/v1/log/tile/0/000.p/3", ""},
      {"GET", "/api/v1/log/tile/{level}/{a}/{b}/{c}", "/api/v1/log/tile/0/x001/000.p/3", ""},
      {"GET", "/api/v1/log/tile/{level}/{a}/{b}/{c}/{d}", "/api/v1/log/tile/0/x001/x000/000.p/3", ""},
      {"GET", "/blobs/{tenant}/{asset_id}/{name}", "/blobs/t1/m/model.tbenc?kid=1&lease=2&exp=3&sig=4", ""},
      {"GET", "/healthz", "/healthz", ""},
      {"GET", "/readyz", "/readyz", ""},
      {"GET", "/metrics", "/metrics", ""},
      {"GET", "/api/v1/openapi.json", "/api/v1/openapi.json", ""},
  };
}

api::UsageReport EveryRouteTest::usage_report() const {
  const api::UsageRecord record{.id = api::usage_id("o", 0, 0),
                                .origin = "o",
                                .first_seq = 0,
                                .last_seq = 0,
                                .from = now_,
                                .to = now_,
                                .usage = {{"requests", 1}}};
  return {.contract_id = "c1", .lease_id = lease_id_, .records = {record}};
}

std::string EveryRouteTest::audit_checkpoint() const {
  const auto key = Ed25519PrivateKey::generate();
  tlog::AddCheckpoint request;
  request.checkpoint = tlog::sign_checkpoint(
      {.origin = tlog::keyed_origin(key.public_key(), "audit"), .size = 1, .root = {}, .extensions = {}}, key);
  return request.to_text();
}

const http::Route& EveryRouteTest::route_of(const Sample& sample) {
  const auto match = router_.match(sample.method, sample.target.substr(0, sample.target.find('?')));
  if (match.route == nullptr || match.route->pattern != sample.pattern) {
    throw Error("internal", sample.target + " is not of " + sample.pattern);
  }
  return *match.route;
}

std::string EveryRouteTest::credential_for(const http::Route& route) {
  return route.who == kSentinel ? activation_token_ : provider_;
}

std::string EveryRouteTest::state() {
  std::string out;
  for (const std::string target : {"assets", "contracts", "contracts/c1/leases", "contracts/c2/leases"}) {
    out += get("/api/v1/" + target + "?tenant=t1", operator_).body + "\n";
  }
  for (const auto& event : store_->list_events(std::nullopt, -1, 1000)) {
    if (event.line.find("license_denied") == std::string::npos) out += event.line + "\n";
  }
  return out;
}

namespace {

TEST_F(EveryRouteTest, HasASample) {
  std::map<std::string, int> sampled;
  for (const auto& sample : samples()) sampled[route_of(sample).method + " " + sample.pattern] += 1;
  for (const auto& route : router_.routes()) EXPECT_EQ(sampled[route.method + " " + route.pattern], 1) << route.pattern;
}

TEST_F(EveryRouteTest, WantsItsOwnCredential) {
  const std::string before = state();
  for (const auto& sample : samples()) {
    const http::Route& route = route_of(sample);
    if (route.who == kPublic) continue;
    const int refusal = route.who == kSentinel ? 403 : 401;
    const std::string wrong_kind = route.who == kSentinel ? provider_ : activation_token_;
    for (const std::string& token : {std::string(), std::string("tbp_nonsense"), wrong_kind, std::string(5000, 'x')}) {
      EXPECT_EQ(send(sample, token, sample.body).status, refusal) << sample.method << " " << sample.target;
    }
    if (route.who == kProvider) EXPECT_EQ(send(sample, auditor_, sample.body).status, 403) << sample.target;
  }
  EXPECT_TRUE(state() == before) << "something changed";
}

/// What another tenant has is as what does not exist: status and words are those for an id that nobody has.
TEST_F(EveryRouteTest, ShowsAnotherTenantNothing) {
  const std::string before = state();
  for (const auto& sample : samples()) {
    const http::Route& route = route_of(sample);
    if (route.who == kPublic || route.who == kSentinel) continue;
    // These make a tenant's own thing, whose id may be another's, too.
    if (sample.pattern == "/api/v1/assets/register" || sample.pattern.ends_with("/blobs/{kind}")) continue;
    if (sample.pattern == "/api/v1/contracts" && sample.method == "POST") continue;
    if (sample.pattern == "/metrics") continue;  // of the process, no tenant's
    for (const std::string query : {"", "?tenant=t1"}) {
      Sample asked = sample;
      asked.target += query;
      const auto response = send(asked, other_provider_, sample.body);
      for (const std::string_view secret : {std::string_view("\"t1\""), std::string_view(lease_id_),
                                            std::string_view("acme"), std::string_view("hw-1")}) {
        EXPECT_EQ(response.body.find(secret), std::string::npos) << asked.target << response.body;
      }
      if (sample.pattern.find("{id}") == std::string::npos) continue;
      EXPECT_EQ(response.status, 404) << asked.target;
      Sample unknown = asked;
      for (const std::string id : {"/c1", "/c2", "/m"}) {
        const auto at = unknown.target.find(id);
        const bool whole =
            at != std::string::npos &&
            std::string_view("/?").find((unknown.target + "/")[at + id.size()]) != std::string_view::npos;
        if (whole) {
          unknown.target.replace(at, id.size(), "/none");
          const auto same = send(unknown, other_provider_, sample.body);
          std::string words = response.body;
          const std::string name = id.substr(1);
          if (const auto word = words.find(" " + name + "\""); word != std::string::npos) {
            words.replace(word + 1, name.size(), "none");
          }
          EXPECT_EQ(words, same.body) << asked.target;
        }
      }
    }
  }
  EXPECT_TRUE(state() == before) << "something changed";
}

std::vector<std::string> broken_bodies() {
  std::string deep;
  for (int i = 0; i < 5000; ++i) deep += "{\"a\":";
  return {
      "",
      "null",
      "[]",
      "\"text\"",
      "17",
      "{",
      "{}}",
      "{\"contract_id\":\"c1\",}",
      "{\"contract_id\":\"c1\",\"contract_id\":\"c2\"}",
      "{\"contract_id\":\"\xff\xfe\"}",
      "{\"contract_id\":\"\\ud800\"}",
      std::string("{\"contract_id\":\"c1\0\"}", 20),
      "{\"contract_id\":1e999}",
      "\xef\xbb\xbf{}",
      deep,
      std::string(3000, '['),
  };
}

TEST_F(EveryRouteTest, RefusesBrokenBodiesAndChangesNothing) {
  const std::string before = state();
  for (const auto& sample : samples()) {
    const http::Route& route = route_of(sample);
    if (route.method == "GET" || route.method == "DELETE" || route.method == "PUT") continue;
    if (sample.body.empty()) continue;
    for (const std::string& body : broken_bodies()) {
      if (body.empty() && sample.pattern.ends_with("/activation-token")) continue;  // its body may be left out
      const auto response = send(sample, credential_for(route), body);
      EXPECT_TRUE(response.status >= 400 && response.status < 500)
          << sample.target << " " << body.substr(0, 60) << " " << response.status;
      EXPECT_NE(text_of(response, "code"), "(none)") << sample.target << " " << body.substr(0, 60);
    }
    const auto large = send(sample, credential_for(route), std::string(route.body_limit_bytes + 1, ' '));
    EXPECT_EQ(large.status, 413) << sample.target;
  }
  EXPECT_TRUE(state() == before) << "something changed";
}

/// Every member of every body in turn: left out, of each other type, and with one more beside it.
TEST_F(EveryRouteTest, RefusesMembersOfOtherTypesByName) {
  const std::string before = state();
  const std::vector<Json> others = {Json(nullptr),
                                    Json(true),
                                    Json(-1),
                                    Json("\x01 no"),
                                    Json(Json::Array{Json(1)}),
                                    Json(Json::Object{{"x", Json(1)}})};
  int refused = 0;
  for (const auto& sample : samples()) {
    const http::Route& route = route_of(sample);
    if (!sample.body.starts_with("{") || route.method == "PUT") continue;
    const Json whole = value_or_throw(Json::parse(sample.body));
    for (const auto& [name, value] : whole.as_object()) {
      for (const Json& other : others) {
        // A text in the place of a text may be right, and hw_id and client_version are free texts.
        if (other.is_string() && value.is_string()) continue;
        // Nothing is as good as null where a member may be left out; a change by null would be a guess.
        if (other.is_null() && route.method != "PATCH") continue;
        Json changed = whole;
        changed.set(name, other);
        const auto response = send(sample, credential_for(route), changed.dump());
        EXPECT_TRUE(response.status >= 400 && response.status < 500)
            << sample.target << " " << name << "=" << other.dump() << " " << response.status;
        EXPECT_NE(response.body.find(name), std::string::npos)
            << sample.target << " " << name << "=" << other.dump() << " does not name it: " << response.body;
        ++refused;
      }
    }
    const bool kept = sample.pattern == "/api/v1/license/authorize" || sample.pattern == "/api/v1/assets/register";
    if (kept) continue;  // an old peer may send what we do not know
    Json more = whole;
    more.set("surprise", 1);
    const auto response = send(sample, credential_for(route), more.dump());
    EXPECT_EQ(response.status, 400) << sample.target;
    EXPECT_NE(response.body.find("surprise"), std::string::npos) << response.body;
  }
  EXPECT_GT(refused, 70);
  EXPECT_TRUE(state() == before) << "something changed";
}

TEST_F(EveryRouteTest, RefusesQueriesThatItDoesNotKnow) {
  const std::string before = state();
  for (const auto& sample : samples()) {
    const http::Route& route = route_of(sample);
    if (route.method != "GET" || route.who == kPublic || sample.pattern == "/metrics") continue;
    for (const std::string query : {"?limit=0", "?limit=201", "?limit=x", "?limit=1&limit=2", "?cursor=%zz"}) {
      if (sample.pattern.ends_with("}") || sample.pattern.ends_with("wrapping")) continue;  // not a list
      Sample asked = sample;
      asked.target += query;
      EXPECT_EQ(send(asked, provider_, "").status, 400) << asked.target;
    }
  }
  EXPECT_TRUE(state() == before) << "something changed";
}

}  // namespace
}  // namespace tb::controlplane
