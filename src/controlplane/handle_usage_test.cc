// spec: wire 1.2, 1.3 (quotas), 2.6
#include "api/usage.h"
#include "controlplane/service_test.h"

namespace tb::controlplane {
namespace {

class UsageTest : public ServiceTest {
 protected:
  void SetUp() override { register_asset("m"); }

  /// A contract with `quotas` and an active lease of it.
  void start(const std::string& quotas = "{}") {
    Json more = Json::object();
    more.set("key_release", "plain");
    more.set("max_seats", 5);
    more.set("quotas", value_or_throw(Json::parse(quotas)));
    token_ = create_contract("c", more);
    lease_id_ = text_of(authorize(token_, authorize_body("c")), "lease_id");
  }
  api::UsageRecord record(std::int64_t first, std::int64_t last, std::int64_t tokens) const {
    return {.id = api::usage_id("o", first, last),
            .origin = "o",
            .first_seq = first,
            .last_seq = last,
            .from = now_,
            .to = now_,
            .usage = {{"tokens", tokens}}};
  }
  http::Response report(std::vector<api::UsageRecord> records) {
    const api::UsageReport body{.contract_id = "c", .lease_id = lease_id_, .records = std::move(records)};
    return post_as_holder(lease_id_, "/api/v1/usage", token_, body.to_json().dump());
  }
  std::string sums(const std::string& query = "") { return get("/api/v1/usage?format=csv" + query, provider_).body; }

  std::string token_, lease_id_;
};

TEST_F(UsageTest, IsCountedOnceAndContradictionIsTold) {
  start();
  EXPECT_EQ(report({record(0, 9, 5), record(10, 19, 7)}).body,
            R"({"counted":2,"repeated":0,"conflicts":[],"gaps":[]})");
  EXPECT_EQ(report({record(0, 9, 5), record(20, 29, 1)}).body,
            R"({"counted":1,"repeated":1,"conflicts":[],"gaps":[]})");
  const auto refused = report({record(0, 9, 6), record(40, 49, 1)});
  EXPECT_EQ(refused.status, 409);
  EXPECT_EQ(text_of(refused, "code"), "usage_conflict");
  EXPECT_EQ(text_of(refused, "conflicts"), "[\"" + record(0, 9, 6).id + "\"]");
  EXPECT_EQ(text_of(refused, "counted"), "1");
  EXPECT_EQ(text_of(refused, "gaps"), R"([{"contract_id":"c","origin":"o","missing_records":10}])");
  EXPECT_THAT(sums("&by=total"), testing::HasSubstr("t1,c,m,tokens,,14\r\n"));
}

TEST_F(UsageTest, ContractAndLeaseComeFromTheCredential) {
  start();
  const api::UsageReport mine{.contract_id = "c", .lease_id = lease_id_, .records = {record(0, 9, 5)}};
  const std::string other = create_contract("d");
  EXPECT_EQ(post_as_holder(lease_id_, "/api/v1/usage", other, mine.to_json().dump()).status, 403);
  EXPECT_EQ(post_as_holder(lease_id_, "/api/v1/usage", "", mine.to_json().dump()).status, 403);
  EXPECT_EQ(post_as_holder(lease_id_, "/api/v1/usage", provider_, mine.to_json().dump()).status, 403);
  api::UsageReport theirs = mine;
  theirs.contract_id = "d";
  EXPECT_EQ(post_as_holder(lease_id_, "/api/v1/usage", other, theirs.to_json().dump()).status, 404)
      << "the lease is another contract's";
  auto late = record(0, 9, 5);
  late.from = late.to = now_ + 3 * api::kHourMs;
  EXPECT_EQ(report({late}).status, 400);
  EXPECT_EQ(post_as_holder(lease_id_, "/api/v1/usage?x=1", token_, mine.to_json().dump()).status, 400);
  EXPECT_THAT(sums(), testing::Not(testing::HasSubstr("tokens")));
}

TEST_F(UsageTest, SumsAreTheTenantsOwn) {
  start();
  report({record(0, 9, 5)});
  now_ += api::kDayMs;
  report({record(15, 19, 7)});
  EXPECT_EQ(sums(),
            "tenant,contract_id,asset_id,dimension,start,quantity\r\n"
            "t1,c,m,tokens,2027-01-15T00:00:00Z,5\r\nt1,c,m,tokens,2027-01-16T00:00:00Z,7\r\n");
  EXPECT_THAT(sums("&by=hour&from=2027-01-16T00:00:00Z"), testing::EndsWith("2027-01-16T08:00:00Z,7\r\n"));
  EXPECT_THAT(sums("&to=2027-01-16T00:00:00Z&by=total"), testing::EndsWith("tokens,,5\r\n"));
  EXPECT_EQ(sums("&dimension=bytes"), sums("&contract_id=d"));
  const Json json = body_of(get("/api/v1/usage", provider_));
  EXPECT_EQ(json.find("items")->as_array().size(), 2U);
  EXPECT_EQ(json.find("gaps")->dump(), R"([{"contract_id":"c","origin":"o","missing_records":5}])");
  EXPECT_EQ(body_of(get("/api/v1/usage", operator_)).dump(), json.dump());
  EXPECT_EQ(body_of(get("/api/v1/usage", other_provider_)).dump(), R"({"items":[],"gaps":[]})");
  const Json first = body_of(get("/api/v1/usage?limit=1", provider_));
  const std::string cursor = first.find("next_cursor")->as_string();
  const Json second = body_of(get("/api/v1/usage?limit=1&cursor=" + cursor, provider_));
  EXPECT_EQ(second.find("items")->as_array()[0].dump(), json.find("items")->as_array()[1].dump());
  EXPECT_EQ(second.find("next_cursor"), nullptr);
  EXPECT_EQ(get("/api/v1/usage?limit=1&format=csv", provider_).headers.get("X-Next-Cursor"), cursor);
  for (const auto* query : {"by=week", "format=xml", "dimension=words", "from=now", "cursor=1", "cursor=x/a/b/c/d",
                            "cursor=1/2/3/4/5/6", "more=1", "by=day&by=day"}) {
    EXPECT_EQ(get(std::string("/api/v1/usage?") + query, provider_).status, 400) << query;
  }
}

TEST_F(UsageTest, AQuotaThatIsUsedUpEndsRenewals) {
  start(R"({"tokens":{"limit":10,"period":"day"}})");
  Json renewal = authorize_body("c");
  renewal.set("lease_id", lease_id_);
  report({record(0, 9, 9)});
  EXPECT_EQ(authorize(token_, renewal).status, 200);
  report({record(10, 19, 1)});
  for (const auto& asked : {renewal, authorize_body("c")}) {
    const auto refused = authorize(token_, asked);
    EXPECT_EQ(refused.status, 403);
    EXPECT_EQ(text_of(refused, "reason"), "quota_exhausted");
    EXPECT_NE(text_of(refused, "detail"), "");
  }
  now_ += 17 * api::kHourMs;
  EXPECT_EQ(authorize(token_, authorize_body("c")).status, 200) << "the next day has its own quota";
}

TEST_F(UsageTest, QuotasAreCheckedWhenTheyAreAgreed) {
  start();
  for (const auto* quotas : {R"({"quotas":{"tokens":5}})", R"({"quotas":{"words":{"limit":5,"period":"day"}}})",
                             R"({"quotas":{"tokens":{"limit":5,"period":"week"}}})"}) {
    const auto response =
        call({.method = "PATCH", .target = "/api/v1/contracts/c", .token = provider_, .body = quotas});
    EXPECT_EQ(text_of(response, "code"), "contract_invalid") << quotas;
  }
}

}  // namespace
}  // namespace tb::controlplane
