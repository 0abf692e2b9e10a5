// spec: wire 1.2 and 1.3; tokens
#include <gtest/gtest.h>

#include "controlplane/event_log.h"
#include "controlplane/service_test.h"
#include "store/open.h"
#include "tlog/chain.h"

namespace tb::controlplane {
namespace {

class Contracts : public ServiceTest {
 protected:
  Contracts() { register_asset("m"); }
};

TEST_F(Contracts, TheActivationTokenIsToldOnce) {
  const std::string token = create_contract("c");
  EXPECT_TRUE(token.starts_with("tba_"));
  EXPECT_EQ(get("/api/v1/contracts/c", provider_).body.find(token), std::string::npos);
  EXPECT_EQ(get("/api/v1/contracts", provider_).body.find(token), std::string::npos);
  for (const auto& event : store_->list_events({}, -1, 100)) EXPECT_EQ(event.line.find(token), std::string::npos);
}

TEST_F(Contracts, ChangesGrowThePolicyVersion) {
  create_contract("c");
  const auto patched =
      call({.method = "PATCH", .target = "/api/v1/contracts/c", .token = provider_, .body = R"({"max_seats":4})"});
  EXPECT_EQ(patched.status, 200) << patched.body;
  EXPECT_EQ(text_of(patched, "policy_version"), "2");
  EXPECT_EQ(text_of(patched, "max_seats"), "4");
  EXPECT_EQ(text_of(post("/api/v1/contracts/c/suspend", provider_), "state"), "suspended");
  EXPECT_EQ(text_of(post("/api/v1/contracts/c/suspend", provider_), "policy_version"), "3");
  EXPECT_EQ(text_of(post("/api/v1/contracts/c/resume", provider_), "state"), "active");
  EXPECT_EQ(text_of(post("/api/v1/contracts/c/revoke", provider_), "state"), "revoked");
  EXPECT_EQ(text_of(post("/api/v1/contracts/c/resume", provider_), "code"), "contract_final");
  EXPECT_EQ(text_of(post("/api/v1/contracts/c/activation-token", provider_), "code"), "contract_final");
}

TEST_F(Contracts, RefusalsNameTheField) {
  const auto code = [&](const std::string& body) {
    return text_of(post("/api/v1/contracts", provider_, body), "code");
  };
  EXPECT_EQ(code("{"), "json_malformed");
  EXPECT_EQ(code("[]"), "json_malformed");
  EXPECT_EQ(code(std::string(100000, '[')), "json_malformed");
  EXPECT_EQ(code(R"({"consumer":"a","asset_ids":["m"],"not_after":"2099-01-01T00:00:00Z","seats":3})"),
            "unknown_field");
  EXPECT_EQ(code(R"({"consumer":"a","asset_ids":["none"],"not_after":"2099-01-01T00:00:00Z"})"), "asset_not_found");
  EXPECT_EQ(
      code(
          R"({"consumer":"a","asset_ids":["m"],"not_after":"2099-01-01T00:00:00Z","key_release":"plain","attestation":"tpm"})"),
      "contract_invalid");
  create_contract("c");
  EXPECT_EQ(code(R"({"contract_id":"c","consumer":"a","asset_ids":["m"],"not_after":"2099-01-01T00:00:00Z"})"),
            "contract_conflict");
}

TEST_F(Contracts, AnotherTenantsContractDoesNotExist) {
  create_contract("c");
  for (const auto* verb : {"suspend", "resume", "revoke", "activation-token"}) {
    EXPECT_EQ(post(std::string("/api/v1/contracts/c/") + verb, other_provider_).status, 404) << verb;
    EXPECT_EQ(post(std::string("/api/v1/contracts/c/") + verb, auditor_).status, 403) << verb;
  }
  EXPECT_EQ(get("/api/v1/contracts/c", other_provider_).status, 404);
  EXPECT_EQ(get("/api/v1/contracts/c/leases", other_provider_).status, 404);
  EXPECT_EQ(text_of(get("/api/v1/contracts", other_provider_), "items"), "[]");
  EXPECT_EQ(call({.method = "PATCH", .target = "/api/v1/contracts/c", .token = other_provider_, .body = "{}"}).status,
            404);
  EXPECT_EQ(text_of(get("/api/v1/contracts/c", provider_), "state"), "active");
  EXPECT_EQ(get("/api/v1/contracts/c?tenant=t1", auditor_).status, 200);
}

TEST_F(Contracts, AMarketplaceIsNamedOnlyWhereUsageIsReported) {
  const Json marketplace =
      value_or_throw(Json::parse(R"({"resource_id":"res","plan_id":"gold","dimensions":["tokens"]})"));
  const auto change = [&](const std::string& id) {
    Json body = Json::object();
    body.set("marketplace", marketplace);
    return call({.method = "PATCH", .target = "/api/v1/contracts/" + id, .token = provider_, .body = body.dump()});
  };
  Json more = Json::object();
  more.set("key_release", "plain");
  const std::string token = create_contract("c", more);
  EXPECT_EQ(text_of(get("/api/v1/contracts/c", provider_), "marketplace"), "{}");
  const auto refused = change("c");
  EXPECT_EQ(text_of(refused, "code"), "contract_invalid");
  EXPECT_THAT(refused.body, testing::HasSubstr("TB_CP_MARKETPLACE_CREDENTIAL"));
  deps_.marketplace_tenant = "t2";
  EXPECT_EQ(text_of(change("c"), "code"), "contract_invalid") << "it is another publisher's";
  deps_.marketplace_tenant = "t1";
  EXPECT_EQ(text_of(change("c"), "marketplace"), marketplace.dump());
  EXPECT_THAT(text_of(authorize(token, authorize_body("c")), "policy"),
              testing::HasSubstr(R"("marketplace_by_control_plane":true)"));
  more.set("marketplace", marketplace);
  create_contract("d", more);
  ASSERT_EQ(store_->billing_accounts().size(), 2U);
  EXPECT_EQ(store_->billing_accounts()[0].dimensions, std::vector<std::string>{"tokens"});
  // What is there already does not stand in the way of other changes.
  deps_.marketplace_tenant = "";
  EXPECT_EQ(call({.method = "PATCH", .target = "/api/v1/contracts/c", .token = provider_, .body = R"({"max_seats":3})"})
                .status,
            200);
}

TEST_F(Contracts, EventsAreAChainForAuditorsAndAnExtractForProviders) {
  create_contract("c");
  post("/api/v1/contracts/c/suspend", provider_);
  tlog::ChainHead head;
  const auto all = get("/api/v1/events", auditor_);
  for (const Json& item : body_of(all).find("items")->as_array()) {
    tlog::verify_record(head, item.find("line")->as_string());
  }
  EXPECT_GE(head.records, 7U);
  EXPECT_THAT(get("/api/v1/events", provider_).body, testing::HasSubstr("contract_suspended"));
  EXPECT_THAT(get("/api/v1/events", other_provider_).body, testing::Not(testing::HasSubstr("contract_suspended")));
  EXPECT_EQ(get("/api/v1/events?cursor=x", auditor_).status, 400);
  EXPECT_EQ(get("/api/v1/events", "").status, 401);
}

TEST_F(Contracts, HealthIsPublicAndMetricsAreNot) {
  EXPECT_EQ(get("/healthz", "").status, 200);
  EXPECT_EQ(get("/readyz", "").status, 200);
  EXPECT_EQ(get("/metrics", "").status, 401);
  authorize("", authorize_body("c"));
  EXPECT_THAT(get("/metrics", auditor_).body,
              testing::HasSubstr("tb_cp_denials_total{reason=\"authentication_required\"} 1"));
}

TEST_F(Contracts, TheOperatorCanVerifyTheWholeLog) {
  create_contract("c");
  const auto count = store_->list_events({}, -1, 1000).size();
  EXPECT_THAT(verify_events(*store_), testing::StartsWith(std::to_string(count) + " records"));
  EXPECT_THAT(verify_events(*store_), testing::HasSubstr(" records, head "));
}

TEST(Tokens, WishesAreChecked) {
  const auto store = store::open_sqlite_store(":memory:");
  EXPECT_THROW(create_token(*store, {.role = "admin", .tenant = "t", .expires_in = ""}, 0), Error);
  EXPECT_THROW(create_token(*store, {.role = "provider", .tenant = "", .expires_in = ""}, 0), Error);
  EXPECT_THROW(create_token(*store, {.role = "operator", .tenant = "t", .expires_in = ""}, 0), Error);
  EXPECT_THROW(create_token(*store, {.role = "provider", .tenant = "a/b", .expires_in = ""}, 0), Error);
  EXPECT_THROW(create_token(*store, {.role = "provider", .tenant = "t", .expires_in = "soon"}, 0), Error);
  const auto token = create_token(*store, {.role = "provider", .tenant = "t", .expires_in = ""}, 0);
  const std::string lines = token_lines(*store);
  EXPECT_THAT(lines, testing::HasSubstr("provider"));
  EXPECT_EQ(lines.find(token.reveal()), std::string::npos);
  EXPECT_THROW(revoke_token(*store, "none"), Error);
  revoke_token(*store, store->list_tokens().front().token_id);
  EXPECT_TRUE(store->list_tokens().empty());
}

}  // namespace
}  // namespace tb::controlplane
