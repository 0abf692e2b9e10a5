// Turns of nodes and billing, held against whatever backend the parameter makes.
#include "store/billing_contract_test.h"

namespace tb::store {
namespace {

using api::kHourMs;

constexpr UnixMs kHour = kBillingHour;

TEST_P(StoreBilling, ATurnIsOneHoldersUntilItsEnd) {
  const auto again = under_test_.open_again();
  EXPECT_FALSE(again->take_turn("marketplace", "two", kNow + 99, kNow + 200));
  EXPECT_EQ(store().take_turn("marketplace", "one", kNow + 50, kNow + 150)->number, turn_.number);
  EXPECT_FALSE(again->take_turn("marketplace", "two", kNow + 149, kNow + 200));
  const auto theirs = again->take_turn("marketplace", "two", kNow + 150, kNow + 200);
  ASSERT_TRUE(theirs);
  EXPECT_NE(theirs->number, turn_.number);
  store().end_turn(turn_);
  EXPECT_FALSE(store().take_turn("marketplace", "one", kNow + 160, kNow + 300)) << "what is not one's own is not ended";
  again->end_turn(*theirs);
  EXPECT_TRUE(store().take_turn("marketplace", "one", kNow + 160, kNow + 300));
  EXPECT_TRUE(again->take_turn("another", "two", kNow, kNow + 100));
}

TEST_P(StoreBilling, WhoeverHasLostTheTurnWritesNothing) {
  store().add_billing_events(turn_, place("c"), {{.dimension = "tokens", .hour = kHour, .quantity = 5}});
  ASSERT_TRUE(store().take_turn("marketplace", "two", kNow + 100, kNow + 200));
  const std::vector<BillingEvent> one = {{.dimension = "tokens", .hour = kHour, .quantity = 5}};
  EXPECT_EQ(reason_of([&] { store().set_billing_events(turn_, place("c"), one, BillingState::kAccepted, ""); }),
            "database_busy");
  EXPECT_EQ(reason_of([&] {
              store().add_billing_events(turn_, place("c"), {{.dimension = "tokens", .hour = kHour + kHourMs}});
            }),
            "database_busy");
  EXPECT_EQ(store().waiting_billing_events(place("c")).size(), 1U);
}

TEST_P(StoreBilling, AllSeatsAreOneSumByTheHour) {
  auto second = seat("l-other", "hw2");
  second.max_seats = 5;
  ASSERT_EQ(store().take_seat(second, kNow, event("released")), SeatOutcome::kGranted);
  use("c", 5, kHour - 2 * kHourMs);
  use("c", 7, kHour - 2 * kHourMs + 1);
  api::UsageRecord record{.id = api::usage_id("other", 0, 0),
                          .origin = "other",
                          .from = kHour - 2 * kHourMs,
                          .to = kHour - 2 * kHourMs,
                          .usage = {{"tokens", 100}}};
  store().append_usage("t1", {.contract_id = "c", .lease_id = "l-other", .records = {record}}, kNow, event(""));
  use("c", 1, kHour);
  const auto found = standing("c");
  EXPECT_EQ(found.owed,
            (std::map<UnixMs, std::int64_t>{
                {kHour - 3 * kHourMs, 0}, {kHour - 2 * kHourMs, 112}, {kHour - kHourMs, 112}, {kHour, 113}}));
  EXPECT_EQ(found.held, 0);
  EXPECT_EQ(store().billing_sums(place("c"), "tokens").owed, 113);
  EXPECT_TRUE(store().billing_standing(place("c"), "requests", kHour, kHour).owed.empty()) << "it is not named";
}

TEST_P(StoreBilling, AnEventIsDecidedOnce) {
  const std::vector<BillingEvent> made = {{.dimension = "tokens", .hour = kHour - kHourMs, .quantity = 5},
                                          {.dimension = "tokens", .hour = kHour, .quantity = 7}};
  store().add_billing_events(turn_, place("c"), made);
  auto first = std::vector{made[0]};
  first[0].fate_unknown = true;
  store().set_billing_events(turn_, place("c"), first, BillingState::kPending, "");
  ASSERT_EQ(store().waiting_billing_events(place("c")).size(), 2U);
  EXPECT_TRUE(store().waiting_billing_events(place("c"))[0].fate_unknown);
  EXPECT_FALSE(store().waiting_billing_events(place("c"))[1].fate_unknown);
  store().set_billing_events(turn_, place("c"), first, BillingState::kAccepted, "");
  store().set_billing_events(turn_, place("c"), first, BillingState::kGivenUp, "");
  store().set_billing_events(turn_, place("c"), {made[1]}, BillingState::kGivenUp, "");
  EXPECT_TRUE(store().waiting_billing_events(place("c")).empty());
  EXPECT_EQ(standing("c").held, 5);
  EXPECT_EQ(standing("c").taken, (std::set<UnixMs>{kHour - kHourMs, kHour}));
  const auto day = store().billed_of_day(place("c"), "tokens", kHour / api::kDayMs * api::kDayMs);
  EXPECT_EQ(day.quantity, 5);
  EXPECT_EQ(day.count, 1);
}

TEST_P(StoreBilling, ContractsOfOneResourceShareItsHours) {
  make("d", marketplace_of("RES"));
  store().add_billing_events(turn_, place("c"), {{.dimension = "tokens", .hour = kHour, .quantity = 5}});
  EXPECT_EQ(standing("d", "RES").taken, std::set<UnixMs>{kHour});
  EXPECT_EQ(standing("d", "RES").held, 0);
  EXPECT_EQ(standing("d", "else").taken, std::set<UnixMs>{});
  const auto accounts = store().billing_accounts();
  ASSERT_EQ(accounts.size(), 2U);
  EXPECT_EQ(accounts[0].place.contract_id, "d") << "whose turn it is";
}

TEST_P(StoreBilling, WhatWasUsedBeforeADimensionWasNamedIsNotOwed) {
  make("d", Json::object());
  use("d", 100, kHour - 2 * kHourMs);
  use("d", 10, kHour);
  EXPECT_EQ(store().billing_accounts().size(), 1U);
  name("d", marketplace_of("other"), kNow);
  EXPECT_EQ(store().billing_sums(place("d", "other"), "tokens").owed, 0);
  use("d", 50, kHour - kHourMs);  // late, of an hour before
  use("d", 3, kHour);
  EXPECT_EQ(store().billing_sums(place("d", "other"), "tokens").owed, 3);
  // Taken away and named again: what was used between is nobody's.
  store().add_billing_events(turn_, place("d", "other"), {{.dimension = "tokens", .hour = kHour, .quantity = 2}});
  name("d", Json::object(), kNow);
  use("d", 40, kHour);
  name("d", marketplace_of("other"), kNow);
  const auto sums = store().billing_sums(place("d", "other"), "tokens");
  EXPECT_EQ(sums.owed, sums.pending);
  EXPECT_EQ(sums.pending, 2);
}

TEST_P(StoreBilling, AContractThatMovesLeavesWhatMayHaveBeenTaken) {
  use("c", 9, kHour);
  store().add_billing_events(turn_, place("c"), {{.dimension = "tokens", .hour = kHour, .quantity = 9}});
  name("c", marketplace_of("new"), kNow);
  const auto accounts = store().billing_accounts();
  ASSERT_EQ(accounts.size(), 2U);
  EXPECT_EQ(accounts[0].place, place("c", "new"));
  EXPECT_FALSE(accounts[0].dimensions.empty());
  EXPECT_EQ(accounts[1].place, place("c"));
  EXPECT_TRUE(accounts[1].dimensions.empty());
  EXPECT_TRUE(accounts[1].moved);
  EXPECT_EQ(standing("c", "new").held, 9) << "whatever place an event went to, it is of the contract";
  EXPECT_EQ(store().billing_sums(place("c", "new"), "tokens").owed, 9);
  name("c", Json::object(), kNow);
  ASSERT_EQ(store().billing_accounts().size(), 1U);
  EXPECT_FALSE(store().billing_accounts()[0].moved) << "it goes nowhere else";
}

}  // namespace
}  // namespace tb::store
