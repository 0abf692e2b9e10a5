// Contracts that name a marketplace, of whatever store the parameter makes.
#pragma once

#include "store/store_contract_test.h"

namespace tb::store {

inline constexpr UnixMs kBillingHour = StoreContract::kNow / api::kHourMs * api::kHourMs;

inline Json marketplace_of(const std::string& resource, const std::string& plan = "gold") {
  Json json = Json::object();
  json.set("resource_id", resource);
  json.set("plan_id", plan);
  Json dimensions = Json::array();
  dimensions.push("tokens");
  json.set("dimensions", std::move(dimensions));
  return json;
}

class StoreBilling : public StoreContract {
 protected:
  void make(const std::string& contract_id, const Json& marketplace) {
    auto made = contract(contract_id, 5);
    made.terms.marketplace = marketplace;
    store().create_contract(made, {}, event("contract"));
    auto held = seat("l-" + contract_id);
    held.contract_id = contract_id;
    ASSERT_EQ(store().take_seat(held, kNow, event("released")), SeatOutcome::kGranted);
  }
  void SetUp() override {
    StoreContract::SetUp();
    if (IsSkipped()) return;
    store().register_asset(asset("t1", "m"), event("asset"));
    make("c", marketplace_of("res"));
    turn_ = *store().take_turn("marketplace", "one", kNow, kNow + 100);
  }
  void name(const std::string& contract_id, const Json& marketplace, UnixMs now) {
    const auto row = store().find_contract("t1", contract_id);
    auto terms = row->contract.terms;
    terms.marketplace = marketplace;
    store().update_terms("t1", contract_id, row->contract.policy_version, terms, now, event("changed"));
  }
  void use(const std::string& contract_id, std::int64_t tokens, UnixMs at) {
    const std::string origin = "o-" + contract_id;
    const std::int64_t seq = seq_++;
    api::UsageRecord record{.id = api::usage_id(origin, seq, seq),
                            .origin = origin,
                            .first_seq = seq,
                            .last_seq = seq,
                            .from = at,
                            .to = at,
                            .usage = {{"tokens", tokens}}};
    store().append_usage("t1", {.contract_id = contract_id, .lease_id = "l-" + contract_id, .records = {record}}, kNow,
                         event(""));
  }
  static BillingPlace place(const std::string& contract_id, const std::string& resource = "res") {
    return {.tenant = "t1", .contract_id = contract_id, .resource = resource, .plan = "gold"};
  }
  BillingStanding standing(const std::string& contract_id, const std::string& resource = "res") {
    return store().billing_standing(place(contract_id, resource), "tokens", kBillingHour - 3 * api::kHourMs,
                                    kBillingHour);
  }
  std::string reason_of(const std::function<void()>& action) {
    try {
      action();
    } catch (const Error& error) {
      return error.reason;
    }
    return "";
  }

  Turn turn_;
  std::int64_t seq_ = 0;
};

}  // namespace tb::store
