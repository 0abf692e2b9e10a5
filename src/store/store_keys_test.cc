// What store.h promises of keys under another KEK, held against every backend.
#include "store/store_contract_test.h"

namespace tb::store {
namespace {

constexpr const char* kNew = "kek2";

Rewrap rewrap_of(const StoredKey& stored) {
  return {.stored = stored, .rewrapped = {.kek_id = kNew, .wrapped = Bytes(60, 9)}};
}

TEST_P(StoreContract, KeysUnderAnotherKekAreFoundInBatchesAndReplacedWithOneEvent) {
  store().add_own_key({.name = "identity", .key = {.kek_id = "kek1", .wrapped = Bytes(40, 1)}, .public_part = {9}});
  store().register_asset(asset("t1", "a"), event("e"));
  store().register_asset(asset("t2", "b", 'b'), event("e"));
  store().register_asset(asset("t2", "c", 'c'), event("e"));
  store().delete_asset("t2", "c", kNow, event("e"));
  EXPECT_TRUE(store().keys_not_under("kek1", 10).empty());
  EXPECT_EQ(store().keys_not_under(kNew, 2).size(), 2U);
  const auto all = store().keys_not_under(kNew, 10);
  ASSERT_EQ(all.size(), 3U) << "a deleted asset has no key";
  std::vector<Rewrap> rewraps;
  for (const auto& stored : all) {
    rewraps.push_back(rewrap_of(stored));
    if (!stored.own_name.empty()) {
      EXPECT_EQ(stored.own_name, "identity");
      EXPECT_EQ(stored.key.wrapped, Bytes(40, 1));
    } else {
      EXPECT_EQ(stored.sha256_ciphertext, std::string(64, stored.asset_id == "a" ? 'a' : 'b'));
      EXPECT_EQ(stored.tenant, stored.asset_id == "a" ? "t1" : "t2");
    }
  }
  EXPECT_EQ(store().rewrap_keys(rewraps, event("keys_rewrapped")), 3);
  EXPECT_EQ(store().kek_ids(), std::vector<std::string>{kNew});
  EXPECT_EQ(store().find_asset("t1", "a")->key.wrapped, Bytes(60, 9));
  EXPECT_EQ(store().find_own_key("identity")->key.wrapped, Bytes(60, 9));
  EXPECT_EQ(store().find_own_key("identity")->public_part, Bytes{9});
  EXPECT_EQ(std::ranges::count(event_types(), "keys_rewrapped"), 1);
}

TEST_P(StoreContract, AKeyThatChangedMeanwhileIsLeftAlone) {
  store().register_asset(asset("t1", "a"), event("e"));
  store().register_asset(asset("t1", "b", 'b'), event("e"));
  const auto again = under_test_.open_again();
  const auto read = again->keys_not_under(kNew, 10);
  ASSERT_EQ(read.size(), 2U);
  EXPECT_EQ(store().rewrap_keys({rewrap_of(read[0])}, event("first")), 1);
  Rewrap late = rewrap_of(read[0]);
  late.rewrapped.wrapped = Bytes(60, 8);
  EXPECT_EQ(again->rewrap_keys({late}, event("late")), 0);
  EXPECT_EQ(again->rewrap_keys({late, rewrap_of(read[1])}, event("second")), 1);
  EXPECT_EQ(store().find_asset("t1", read[0].asset_id)->key.wrapped, Bytes(60, 9));
  EXPECT_EQ(std::ranges::count(event_types(), "late"), 0) << "what changes nothing is no event";

  store().delete_asset("t1", "b", kNow, event("e"));
  EXPECT_EQ(store().rewrap_keys({rewrap_of(read[1])}, event("gone")), 0);
  EXPECT_FALSE(store().find_asset("t1", "b").has_value()) << "a forgotten key does not come back";
}

}  // namespace
}  // namespace tb::store
