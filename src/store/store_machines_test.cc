// The verbs of machines with a TPM, for every store (store_contract_test.h).
#include "store/store_contract_test.h"

namespace tb::store {
namespace {

constexpr std::int64_t kMost = 3;

Enrolment enrolment(const std::string& ak_name, const std::string& ek_sha256 = "ek-1") {
  return {.ak_name = ak_name,
          .ek_sha256 = ek_sha256,
          .ek_public = {1, 2},
          .ak_public = {3, 4},
          .secret_hash = {7, 7, 7},
          .expires_at = 1800000000000 + 1000};
}

TEST_P(StoreContract, AMachineIsEnrolledOnceByItsSecret) {
  add_asset_and_contract();
  ASSERT_TRUE(store().begin_enrolment("t1", "c", enrolment("ak"), kNow, kMost, event("begun")));
  EXPECT_FALSE(store().find_machine("t1", "c", "ak"));
  const auto finish = [&](const Bytes& hash, UnixMs now, const std::string& contract_id = "c") {
    return store().finish_enrolment("t1", contract_id, "ak", hash, now, kMost, event("enrolled"));
  };
  EXPECT_EQ(finish({7, 7, 8}, kNow), EnrolOutcome::kUnknown);
  EXPECT_EQ(finish({7, 7, 7}, kNow + 1000), EnrolOutcome::kUnknown) << "expired";
  EXPECT_EQ(finish({7, 7, 7}, kNow, "x2"), EnrolOutcome::kUnknown) << "of another contract";
  EXPECT_EQ(finish({7, 7, 7}, kNow), EnrolOutcome::kEnrolled);
  EXPECT_EQ(finish({7, 7, 7}, kNow), EnrolOutcome::kUnknown) << "used";
  const auto machine = store().find_machine("t1", "c", "ak");
  ASSERT_TRUE(machine);
  EXPECT_EQ(machine->ak_public, (Bytes{3, 4}));
  EXPECT_FALSE(machine->approved);
  EXPECT_FALSE(machine->seen_at);
  EXPECT_FALSE(store().find_machine("t2", "c", "ak"));
  const auto types = event_types();
  EXPECT_EQ(std::ranges::count(types, "begun"), 1);
  EXPECT_EQ(std::ranges::count(types, "enrolled"), 1);
}

TEST_P(StoreContract, OpenEnrolmentsAndMachinesAreBounded) {
  add_asset_and_contract();
  for (const char* ak : {"a", "b", "c"}) {
    ASSERT_TRUE(store().begin_enrolment("t1", "c", enrolment(ak), kNow, kMost, event("begun")));
  }
  EXPECT_FALSE(store().begin_enrolment("t1", "c", enrolment("d"), kNow, kMost, event("begun")));
  EXPECT_TRUE(store().begin_enrolment("t1", "c", enrolment("a"), kNow, kMost, event("begun"))) << "the same again";
  for (const char* ak : {"a", "b"}) {
    EXPECT_EQ(store().finish_enrolment("t1", "c", ak, Bytes{7, 7, 7}, kNow, 2, event("enrolled")),
              EnrolOutcome::kEnrolled);
  }
  EXPECT_EQ(store().finish_enrolment("t1", "c", "c", Bytes{7, 7, 7}, kNow, 2, event("enrolled")), EnrolOutcome::kFull);
  EXPECT_EQ(store().list_machines("t1", "c", "", 10).size(), 2U);
  EXPECT_EQ(store().list_machines("t1", "c", "a", 10).size(), 1U);
  EXPECT_TRUE(store().list_machines("t2", "c", "", 10).empty());
  EXPECT_TRUE(store().begin_enrolment("t1", "c", enrolment("e"), kNow + 2000, 1, event("begun")))
      << "expired ones free their place";
}

TEST_P(StoreContract, ATpmsClockOnlyGoesOnAlsoFromTwoStores) {
  add_asset_and_contract();
  store().begin_enrolment("t1", "c", enrolment("ak"), kNow, kMost, event("begun"));
  store().finish_enrolment("t1", "c", "ak", Bytes{7, 7, 7}, kNow, kMost, event("enrolled"));
  const auto other = under_test_.open_again();
  const auto advance = [&](Store& at, api::TpmClock clock) {
    return at.advance_clock("t1", "c", "ak", clock, kNow + 5);
  };
  EXPECT_TRUE(advance(store(), {5, 1, 100}));
  EXPECT_TRUE(advance(*other, {5, 1, 100}));
  EXPECT_FALSE(advance(*other, {5, 1, 99}));
  EXPECT_FALSE(advance(*other, {5, 0, 900}));
  EXPECT_FALSE(advance(*other, {4, 9, 900}));
  EXPECT_TRUE(advance(*other, {6, 0, 0}));
  EXPECT_FALSE(advance(store(), {5, 9, 900}));
  EXPECT_FALSE(store().advance_clock("t1", "c", "nobody", {9, 9, 9}, kNow));
  const auto machine = store().find_machine("t1", "c", "ak");
  ASSERT_TRUE(machine);
  EXPECT_EQ(machine->clock.reset_count, 6);
  EXPECT_EQ(machine->seen_at, kNow + 5);
}

TEST_P(StoreContract, ApprovalIsOfTheEndorsementKey) {
  add_asset_and_contract();
  store().approve_machine("t1", "c", "ek-1", kNow, event("approved"));
  store().approve_machine("t1", "c", "ek-1", kNow, event("approved"));
  for (const auto& [ak, ek] : {std::pair{"a", "ek-1"}, {"b", "ek-2"}}) {
    store().begin_enrolment("t1", "c", enrolment(ak, ek), kNow, kMost, event("begun"));
    store().finish_enrolment("t1", "c", ak, Bytes{7, 7, 7}, kNow, kMost, event("enrolled"));
  }
  EXPECT_TRUE(store().find_machine("t1", "c", "a")->approved);
  EXPECT_FALSE(store().find_machine("t1", "c", "b")->approved);
  store().forget_machine("t1", "c", "ek-1", event("forgotten"));
  EXPECT_FALSE(store().find_machine("t1", "c", "a"));
  EXPECT_TRUE(store().find_machine("t1", "c", "b"));
  EXPECT_THROW(store().approve_machine("t1", "c9", "ek-1", kNow, event("approved")), Error);
  EXPECT_THROW(store().approve_machine("t2", "c", "ek-1", kNow, event("approved")), Error);
  EXPECT_THROW(store().forget_machine("t2", "c", "ek-2", event("forgotten")), Error);
}

}  // namespace
}  // namespace tb::store
