// What store.h promises, held against whatever backend the parameter makes.
#include "store/store_contract_test.h"

#include <thread>

#include "tlog/chain.h"

namespace tb::store {
namespace {

template <typename F>
std::string reason_of(F&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.reason;
  }
  return "nothing";
}

Bytes hash_of(std::string_view text) {
  const Digest digest = sha256(text);
  return {digest.begin(), digest.end()};
}

}  // namespace

void StoreContract::SetUp() {
  under_test_ = GetParam()();
  if (!under_test_.skip.empty()) GTEST_SKIP() << under_test_.skip;
  for (const auto* tenant : {"t1", "t2"}) {
    store().add_token({.token_id = std::string("id-") + tenant,
                       .hash = hash_of(tenant),
                       .role = Role::kProvider,
                       .tenant = tenant,
                       .created_at = kNow,
                       .expires_at = kNow + 1000},
                      event("token_created"));
  }
}

void StoreContract::TearDown() {
  under_test_.store.reset();
  if (under_test_.clean_up) under_test_.clean_up();
}

AssetRow StoreContract::asset(const std::string& tenant, const std::string& asset_id, char digest) const {
  AssetRow row;
  row.view.tenant = tenant;
  row.view.asset_id = asset_id;
  row.view.blob_urls = {.ciphertext = "https://a/c", .manifest = "https://a/m"};
  row.view.metadata = {.chunk_bytes = 1024, .plaintext_bytes = 1, .sha256_ciphertext = std::string(64, digest)};
  row.view.manifest_sha256 = std::string(64, 'm');
  row.view.registered_at = kNow;
  row.key = {.kek_id = "kek1", .wrapped = Bytes(40, 7)};
  row.content_digest = std::string(1, digest);
  return row;
}

api::Contract StoreContract::contract(const std::string& contract_id, std::int64_t max_seats) const {
  api::Contract out;
  out.tenant = "t1";
  out.contract_id = contract_id;
  out.terms.consumer = "acme";
  out.terms.asset_ids = {"m"};
  out.terms.not_before = kNow;
  out.terms.not_after = kNow + 1000000;
  out.terms.max_seats = max_seats;
  out.created_at = out.updated_at = kNow;
  return out;
}

SeatRequest StoreContract::seat(const std::string& lease_id, const std::string& hw_id) const {
  return {.tenant = "t1",
          .contract_id = "c",
          .policy_version = 1,
          .lease_id = lease_id,
          .asset_id = "m",
          .hw_id = hw_id,
          .client_version = "1",
          .max_seats = 1,
          .expires_at = kNow + 100,
          .seat_until = kNow + 100,
          .jwk_thumbprint = {}};
}

void StoreContract::add_asset_and_contract(std::int64_t max_seats) {
  store().register_asset(asset("t1", "m"), event("asset_registered"));
  store().create_contract(contract("c", max_seats), ActivationToken{.hash = hash_of("token"), .expires_at = {}},
                          event("contract_created"));
}

std::vector<std::string> StoreContract::event_types() {
  std::vector<std::string> types;
  tlog::ChainHead head;
  for (const auto& stored : store().list_events({}, -1, 10000)) {
    tlog::verify_record(head, stored.line);
    types.push_back(value_or_throw(Json::parse(stored.line)).find("type")->as_string());
  }
  return types;
}

namespace {

TEST_P(StoreContract, TokensAreFoundByHashUntilTheyExpireOrAreRevoked) {
  EXPECT_EQ(store().find_token(hash_of("t1"), kNow)->tenant, "t1");
  EXPECT_EQ(store().find_token(hash_of("t1"), kNow)->role, Role::kProvider);
  EXPECT_FALSE(store().find_token(hash_of("t1"), kNow + 1000).has_value());
  EXPECT_FALSE(store().find_token(hash_of("other"), kNow).has_value());
  EXPECT_TRUE(store().revoke_token("id-t1", event("token_revoked")));
  EXPECT_FALSE(store().revoke_token("id-t1", event("token_revoked")));
  EXPECT_FALSE(store().find_token(hash_of("t1"), kNow).has_value());
  EXPECT_EQ(store().list_tokens().size(), 1U);
}

TEST_P(StoreContract, OwnKeysAreAddedOnce) {
  const OwnKey first{.name = "k", .key = {.kek_id = "kek1", .wrapped = Bytes(40, 1)}, .public_part = {9}};
  OwnKey second = first;
  second.key.wrapped = Bytes(40, 2);
  EXPECT_FALSE(store().find_own_key("k").has_value());
  EXPECT_EQ(store().add_own_key(first).key.wrapped, first.key.wrapped);
  EXPECT_EQ(store().add_own_key(second).key.wrapped, first.key.wrapped);
  EXPECT_EQ(store().kek_ids(), std::vector<std::string>{"kek1"});
}

TEST_P(StoreContract, OwnKeysOfOneFamilyAreListedAndRetiredToTheLast) {
  const auto key = [](const std::string& name) {
    return OwnKey{.name = name, .key = {.kek_id = "kek1", .wrapped = Bytes(40, 1)}, .public_part = {9}};
  };
  store().add_own_key(key("w"));
  store().add_own_key(key("wx"));
  EXPECT_TRUE(store().add_own_key(key("w/2"), event("added")));
  EXPECT_TRUE(store().add_own_key(key("w/1"), event("added")));
  EXPECT_FALSE(store().add_own_key(key("w/1"), event("added twice")));
  const auto names = [&] {
    std::vector<std::string> out;
    for (const auto& one : store().list_own_keys("w")) out.push_back(one.name);
    return out;
  };
  EXPECT_EQ(names(), (std::vector<std::string>{"w", "w/1", "w/2"}));
  EXPECT_EQ(store().list_own_keys("w").back().public_part, Bytes{9});
  EXPECT_FALSE(store().retire_own_key("w", "w/3", event("no such")));
  EXPECT_FALSE(store().retire_own_key("w", "wx", event("of no such family")));
  EXPECT_TRUE(store().retire_own_key("w", "w", event("retired")));
  EXPECT_TRUE(store().retire_own_key("w", "w/2", event("retired")));
  EXPECT_FALSE(store().retire_own_key("w", "w/1", event("the last")));
  EXPECT_EQ(names(), std::vector<std::string>{"w/1"});
  std::vector<std::string> types;
  for (const auto& one : store().list_events(std::nullopt, -1, 100)) {
    for (const char* type : {"\"added\"", "\"retired\""}) {
      if (one.line.contains(type)) types.emplace_back(type);
    }
    EXPECT_FALSE(one.line.contains("no such") || one.line.contains("the last") || one.line.contains("twice"));
  }
  EXPECT_EQ(types, (std::vector<std::string>{"\"added\"", "\"added\"", "\"retired\"", "\"retired\""}));
}

TEST_P(StoreContract, TheSameRegistrationAgainIsNoChange) {
  EXPECT_EQ(store().register_asset(asset("t1", "m"), event("e1")), RegisterOutcome::kCreated);
  EXPECT_EQ(store().register_asset(asset("t1", "m"), event("e2")), RegisterOutcome::kSame);
  EXPECT_EQ(store().register_asset(asset("t1", "m", 'b'), event("e3")), RegisterOutcome::kConflict);
  const auto found = store().find_asset("t1", "m");
  EXPECT_EQ(found->view.to_json().dump(), asset("t1", "m").view.to_json().dump());
  EXPECT_EQ(found->key.wrapped, Bytes(40, 7));
  EXPECT_EQ(event_types().back(), "e1");
}

TEST_P(StoreContract, TenantsDoNotSeeEachOther) {
  store().register_asset(asset("t1", "m"), event("e"));
  EXPECT_FALSE(store().find_asset("t2", "m").has_value());
  EXPECT_TRUE(store().list_assets("t2", "", 10).empty());
  EXPECT_EQ(store().register_asset(asset("t2", "m", 'b'), event("e")), RegisterOutcome::kCreated);
  EXPECT_EQ(store().list_assets("t1", "", 10).size(), 1U);
  EXPECT_EQ(store().list_assets({}, "", 10).size(), 2U);
  EXPECT_EQ(reason_of([&] { store().delete_asset("t2", "n", kNow, event("e")); }), "asset_not_found");

  store().create_contract(contract("c"), {}, event("e"));
  EXPECT_FALSE(store().find_contract("t2", "c").has_value());
  EXPECT_TRUE(store().list_contracts("t2", "", 10).empty());
  EXPECT_EQ(reason_of([&] { store().set_contract_state("t2", "c", api::ContractState::kRevoked, kNow, event("e")); }),
            "contract_not_found");
  auto other = contract("c");
  other.tenant = "t2";
  store().create_contract(other, {}, event("e"));
  EXPECT_EQ(store().find_contracts("c").size(), 2U);
}

TEST_P(StoreContract, ADeletedIdNeverReturnsWithOtherBytes) {
  store().register_asset(asset("t1", "m"), event("e"));
  store().delete_asset("t1", "m", kNow, event("asset_deleted"));
  EXPECT_FALSE(store().find_asset("t1", "m").has_value());
  EXPECT_TRUE(store().list_assets({}, "", 10).empty());
  EXPECT_TRUE(store().kek_ids().empty()) << "the wrapped key is gone";
  EXPECT_EQ(store().register_asset(asset("t1", "m", 'b'), event("e")), RegisterOutcome::kConflict);
  EXPECT_EQ(store().register_asset(asset("t1", "m"), event("e")), RegisterOutcome::kCreated);
  EXPECT_EQ(reason_of([&] { store().delete_asset("t1", "x", kNow, event("e")); }), "asset_not_found");
}

TEST_P(StoreContract, AnAssetOfALiveContractStays) {
  add_asset_and_contract();
  EXPECT_EQ(reason_of([&] { store().delete_asset("t1", "m", kNow, event("e")); }), "asset_in_use");
  store().delete_asset("t1", "m", kNow + 1000000, event("asset_deleted"));
}

TEST_P(StoreContract, ListsComeInPages) {
  for (const auto* id : {"a", "b", "c"}) store().register_asset(asset("t1", id), event("e"));
  const auto first = store().list_assets("t1", "", 2);
  ASSERT_EQ(first.size(), 2U);
  EXPECT_EQ(first[1].view.asset_id, "b");
  const auto rest = store().list_assets("t1", "t1/b", 2);
  ASSERT_EQ(rest.size(), 1U);
  EXPECT_EQ(rest[0].view.asset_id, "c");
}

TEST_P(StoreContract, ContractsNeedTheirAssetsAndAFreeId) {
  EXPECT_EQ(reason_of([&] { store().create_contract(contract("c"), {}, event("e")); }), "asset_not_found");
  EXPECT_FALSE(store().find_contract("t1", "c").has_value()) << "nothing is left of a refused creation";
  add_asset_and_contract();
  EXPECT_EQ(reason_of([&] { store().create_contract(contract("c"), {}, event("e")); }), "contract_conflict");
  const auto row = store().find_contract("t1", "c");
  EXPECT_EQ(row->contract.to_json(kNow).dump(), contract("c").to_json(kNow).dump());
  EXPECT_EQ(row->activation_hash, hash_of("token"));
}

TEST_P(StoreContract, EveryChangeOfAContractIsOneVersionAndOneEvent) {
  add_asset_and_contract();
  auto terms = contract("c").terms;
  terms.max_seats = 5;
  EXPECT_EQ(store().update_terms("t1", "c", 1, terms, kNow, event("changed")).contract.policy_version, 2);
  EXPECT_EQ(reason_of([&] { store().update_terms("t1", "c", 1, terms, kNow, event("changed")); }), "database_busy");
  const auto suspended =
      store().set_contract_state("t1", "c", api::ContractState::kSuspended, kNow, event("suspended"));
  EXPECT_EQ(suspended.contract.policy_version, 3);
  EXPECT_EQ(suspended.contract.terms.max_seats, 5);
  store().set_contract_state("t1", "c", api::ContractState::kSuspended, kNow, event("suspended"));
  store().set_contract_state("t1", "c", api::ContractState::kActive, kNow, event("resumed"));
  store().set_contract_state("t1", "c", api::ContractState::kRevoked, kNow, event("revoked"));
  EXPECT_EQ(
      reason_of([&] { store().set_contract_state("t1", "c", api::ContractState::kActive, kNow, event("resumed")); }),
      "contract_final");
  EXPECT_EQ(reason_of([&] { store().update_terms("t1", "c", 5, terms, kNow, event("changed")); }), "contract_final");
  EXPECT_EQ(event_types(),
            (std::vector<std::string>{"token_created", "token_created", "asset_registered", "contract_created",
                                      "changed", "suspended", "resumed", "revoked"}));
}

TEST_P(StoreContract, HardwareIsPinnedOnceAndCanBeReset) {
  add_asset_and_contract();
  EXPECT_EQ(store().pin_hardware("t1", "c", "h1", event("pin")).hw_id, "h1");
  EXPECT_EQ(store().pin_hardware("t1", "c", "h2", event("pin")).hw_id, "h1");
  EXPECT_FALSE(store().find_contract("t1", "c")->pin->approved);
  store().set_hardware_pin("t1", "c", "h1", event("approved"));
  EXPECT_TRUE(store().find_contract("t1", "c")->pin->approved);
  store().set_hardware_pin("t1", "c", {}, event("reset"));
  EXPECT_FALSE(store().find_contract("t1", "c")->pin.has_value());
}

TEST_P(StoreContract, ASeatIsHeldUntilItEndsOrExpires) {
  add_asset_and_contract();
  EXPECT_EQ(store().take_seat(seat("l1"), kNow, event("released")), SeatOutcome::kGranted);
  EXPECT_EQ(store().take_seat(seat("l2"), kNow, event("released")), SeatOutcome::kFull);
  EXPECT_EQ(store().find_seat("t1", "c", "m", "hw", kNow), "l1");
  EXPECT_EQ(store().find_seat("t1", "c", "m", "other", kNow), "");
  EXPECT_TRUE(store().lease_serves("t1", "l1", "m", kNow + 99));
  EXPECT_FALSE(store().lease_serves("t1", "l1", "m", kNow + 100));
  EXPECT_FALSE(store().lease_serves("t1", "l1", "n", kNow));
  EXPECT_FALSE(store().lease_serves("t2", "l1", "m", kNow));
  EXPECT_FALSE(store().end_lease("t2", "c", "l1", api::LeaseState::kReleased, kNow, event("end")));
  EXPECT_TRUE(store().end_lease("t1", "c", "l1", api::LeaseState::kReleased, kNow, event("end")));
  EXPECT_FALSE(store().end_lease("t1", "c", "l1", api::LeaseState::kReleased, kNow, event("end")));
  EXPECT_EQ(store().take_seat(seat("l3"), kNow, event("released")), SeatOutcome::kGranted);
  EXPECT_EQ(store().take_seat(seat("l4"), kNow + 100, event("released")), SeatOutcome::kGranted) << "l3 has expired";
  const auto leases = store().list_leases("t1", "c", "", 10);
  ASSERT_EQ(leases.size(), 3U);
  EXPECT_EQ(leases[0].lease_id, "l4");
  EXPECT_EQ(store().list_leases("t1", "c", "l4", 1).size(), 1U);
}

TEST_P(StoreContract, SeatsAreNotTakenOnAChangedContract) {
  add_asset_and_contract();
  auto stale = seat("l1");
  stale.policy_version = 2;
  EXPECT_EQ(store().take_seat(stale, kNow, event("released")), SeatOutcome::kChanged);
  EXPECT_EQ(store().take_seat(seat("l1"), kNow, event("released")), SeatOutcome::kGranted);
  store().set_contract_state("t1", "c", api::ContractState::kSuspended, kNow, event("suspended"));
  EXPECT_EQ(store().renew_lease(seat("l1"), kNow, event("renewed")), SeatOutcome::kChanged);
  EXPECT_FALSE(store().lease_serves("t1", "l1", "m", kNow));
}

TEST_P(StoreContract, ARenewalIsForTheSameLeaseAssetAndMachineOnly) {
  add_asset_and_contract();
  store().take_seat(seat("l1"), kNow, event("released"));
  auto renewal = seat("l1");
  renewal.expires_at = renewal.seat_until = kNow + 500;
  EXPECT_EQ(store().renew_lease(renewal, kNow + 50, event("renewed")), SeatOutcome::kGranted);
  EXPECT_EQ(store().list_leases("t1", "c", "", 1)[0].generation, 2);
  EXPECT_EQ(store().list_leases("t1", "c", "", 1)[0].expires_at, kNow + 500);
  auto other = renewal;
  other.hw_id = "other";
  EXPECT_EQ(store().renew_lease(other, kNow + 50, event("renewed")), SeatOutcome::kGone);
  other = renewal;
  other.asset_id = "n";
  EXPECT_EQ(store().renew_lease(other, kNow + 50, event("renewed")), SeatOutcome::kGone);
  other = renewal;
  other.lease_id = "l9";
  EXPECT_EQ(store().renew_lease(other, kNow + 50, event("renewed")), SeatOutcome::kGone);
  EXPECT_EQ(store().renew_lease(renewal, kNow + 500, event("renewed")), SeatOutcome::kGone)
      << "an expired one is final";
}

TEST_P(StoreContract, RevokingEndsAllLeases) {
  add_asset_and_contract();
  store().take_seat(seat("l1"), kNow, event("released"));
  store().set_contract_state("t1", "c", api::ContractState::kRevoked, kNow, event("revoked"));
  EXPECT_EQ(store().list_leases("t1", "c", "", 1)[0].state, api::LeaseState::kEvicted);
}

TEST_P(StoreContract, AOneTimeKeyServesOnce) {
  add_asset_and_contract(2);
  auto first = seat("l1");
  first.max_seats = 2;
  first.jwk_thumbprint = "thumb";
  auto second = first;
  second.lease_id = "l2";
  EXPECT_EQ(store().take_seat(first, kNow, event("released")), SeatOutcome::kGranted);
  EXPECT_EQ(store().take_seat(second, kNow, event("released")), SeatOutcome::kJwkReused);
  EXPECT_EQ(store().renew_lease(first, kNow, event("renewed")), SeatOutcome::kJwkReused);
  EXPECT_EQ(store().list_leases("t1", "c", "", 10).size(), 1U) << "a refused request takes no seat";
}

TEST_P(StoreContract, NeverMoreSeatsThanSoldWithManyCallers) {
  constexpr std::int64_t kSeats = 3;
  add_asset_and_contract(kSeats);
  const auto again = under_test_.open_again();
  std::atomic<int> granted{0};
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      Store& mine = t % 2 == 0 ? store() : *again;
      for (int i = 0; i < 8; ++i) {
        auto wish = seat("l" + std::to_string(t) + "-" + std::to_string(i));
        wish.max_seats = kSeats;
        if (mine.take_seat(wish, kNow, event("released")) == SeatOutcome::kGranted) ++granted;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(granted.load(), kSeats);
  EXPECT_EQ(std::ranges::count(event_types(), "released"), kSeats);
}

TEST_P(StoreContract, NoncesServeOnceBeforeTheyExpireAndAreFew) {
  add_asset_and_contract();
  EXPECT_TRUE(store().add_nonce("t1", "c", hash_of("n1"), kNow, kNow + 10, 2));
  EXPECT_TRUE(store().add_nonce("t1", "c", hash_of("n2"), kNow, kNow + 10, 2));
  EXPECT_FALSE(store().add_nonce("t1", "c", hash_of("n3"), kNow, kNow + 10, 2));
  EXPECT_FALSE(store().use_nonce("t1", "d", hash_of("n1"), kNow));
  EXPECT_TRUE(store().use_nonce("t1", "c", hash_of("n1"), kNow));
  EXPECT_FALSE(store().use_nonce("t1", "c", hash_of("n1"), kNow));
  EXPECT_FALSE(store().use_nonce("t1", "c", hash_of("n2"), kNow + 10));
  EXPECT_TRUE(store().add_nonce("t1", "c", hash_of("n4"), kNow + 10, kNow + 20, 1));
}

TEST_P(StoreContract, TheEventLogIsOneChainAlsoAcrossConnections) {
  store().append_event(event("one"));
  const auto again = under_test_.open_again();
  again->append_event(event("two"));
  store().append_event(event("three"));
  EXPECT_EQ(event_types(), (std::vector<std::string>{"token_created", "token_created", "one", "two", "three"}));
  EXPECT_EQ(store().list_events("t2", -1, 10).size(), 0U);
  EXPECT_EQ(store().list_events({}, 3, 10).size(), 1U);
  EXPECT_EQ(store().list_events({}, -1, 2).size(), 2U);
}

}  // namespace
}  // namespace tb::store
