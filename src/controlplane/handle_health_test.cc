// spec: wire 1.2, healthz, readyz, metrics; and the console's list of tokens
#include <gmock/gmock.h>

#include "controlplane/service_test.h"

namespace tb::controlplane {
namespace {

using testing::HasSubstr;

class Health : public ServiceTest {};

TEST_F(Health, WhoIsToldToEndIsNotReadyAndServesOn) {
  EXPECT_EQ(get("/readyz", "").status, 200);
  deps_.stopping = true;
  EXPECT_EQ(get("/readyz", "").status, 503);
  EXPECT_EQ(get("/readyz", "").body, "stopping\n");
  EXPECT_EQ(get("/healthz", "").status, 200);
  EXPECT_EQ(get("/api/v1/contracts", provider_).status, 200);
}

TEST_F(Health, MetricsTellOfLeasesDenialsAndTheLog) {
  register_asset("m");
  Json plain = Json::object();
  plain.set("key_release", "plain");
  const std::string token = create_contract("c", plain);
  EXPECT_EQ(authorize(token, authorize_body("c")).status, 200);
  EXPECT_EQ(authorize(token, authorize_body("c")).status, 403);
  const std::string text = get("/metrics", auditor_).body;
  EXPECT_THAT(text, HasSubstr("\ntb_cp_leases_active 1\n"));
  EXPECT_THAT(text, HasSubstr("\ntb_cp_releases_total{key=\"plain\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("\ntb_cp_denials_total{reason=\"seat_limit\"} 1\n"));
  EXPECT_THAT(text, HasSubstr("\ntb_cp_event_log_records " + std::to_string(store_->event_tree().size()) + "\n"));
  EXPECT_EQ(get("/metrics", "").status, 401);
}

TEST_F(Health, TheStoreCountsIntoTheMetrics) {
  store_->measure(metrics_);
  register_asset("m");
  EXPECT_THAT(get("/metrics", auditor_).body, HasSubstr("\ntb_store_changes_total 1\n"));
}

TEST_F(Health, TokensAreListedAsJsonWithoutTheTokens) {
  const SecretString token = create_token(*store_, {.role = "provider", .tenant = "t3", .expires_in = "90d"}, now_);
  const std::string text = token_list(*store_).dump();
  EXPECT_EQ(text.find(token.reveal()), std::string::npos);
  const Json list = token_list(*store_);
  const auto& items = list.find("items")->as_array();
  ASSERT_EQ(items.size(), 5U);
  for (const Json& item : items) {
    EXPECT_NE(item.find("token_id"), nullptr);
    EXPECT_EQ(item.find("tenant") == nullptr, item.find("role")->as_string() != "provider") << item.dump();
    if (const Json* tenant = item.find("tenant"); tenant == nullptr || tenant->as_string() != "t3") continue;
    EXPECT_EQ(item.find("expires_at")->as_string(), to_rfc3339(now_ + std::int64_t{90} * 86400000));
  }
}

}  // namespace
}  // namespace tb::controlplane
