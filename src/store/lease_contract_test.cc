// What store.h promises of sentinel keys, renewal tokens and housekeeping: the second part of the suite of all stores.
#include <atomic>
#include <random>
#include <thread>

#include "store/store_contract_test.h"

namespace tb::store {
namespace {

Bytes hash_of(std::string_view text) {
  const Digest digest = sha256(text);
  return {digest.begin(), digest.end()};
}

ProofOnce proof(const std::string& key, const std::string& jti) {
  return {.sentinel_key = key, .jti = jti, .expires_at = 1800000000000 + 120000};
}

/// A seat of `key`, whose answer will carry `token`.
SeatRequest owned(SeatRequest seat, const std::string& key, const std::string& jti, const std::string& token) {
  seat.proof = proof(key, jti);
  seat.renewal_hash = hash_of(token);
  return seat;
}

/// A renewal of it that shows `shown` and will carry `next`; `request` is what else it says.
SeatRequest renewal(SeatRequest seat, const std::string& jti, const std::string& shown, const std::string& next,
                    const std::string& request = "r") {
  seat.proof.jti = jti;
  seat.shown_renewal_hash = hash_of(shown);
  seat.renewal_hash = hash_of(next);
  seat.request_digest = hash_of(request + shown);
  return seat;
}

api::LeaseState state_of(Store& store, const std::string& lease_id) {
  for (const auto& lease : store.list_leases("t1", "c", "", 1000)) {
    if (lease.lease_id == lease_id) return lease.state;
  }
  ADD_FAILURE() << "there is no lease " << lease_id;
  return api::LeaseState::kExpired;
}

TEST_P(StoreContract, AProofServesOnceWhateverItIsFor) {
  add_asset_and_contract(3);
  auto first = owned(seat("l1"), "k1", "j1", "t1");
  first.max_seats = 3;
  EXPECT_EQ(store().take_seat(first, kNow, event("released")), SeatOutcome::kGranted);
  auto again = first;
  again.lease_id = "l2";
  EXPECT_EQ(store().take_seat(again, kNow, event("released")), SeatOutcome::kProofReplayed);
  EXPECT_EQ(store().renew_lease(renewal(first, "j1", "t1", "t2"), kNow, event("renewed")), SeatOutcome::kProofReplayed);
  EXPECT_EQ(store().release_lease("t1", "c", "l1", proof("k1", "j1"), kNow, event("end")),
            ReleaseOutcome::kProofReplayed);
  EXPECT_EQ(state_of(store(), "l1"), api::LeaseState::kActive) << "a replay changes nothing";
  again = owned(again, "k2", "j1", "t1");
  EXPECT_EQ(store().take_seat(again, kNow, event("released")), SeatOutcome::kGranted) << "of another key";
}

TEST_P(StoreContract, ARequestThatWasRefusedHasNotUsedItsProof) {
  add_asset_and_contract();
  store().take_seat(owned(seat("l1"), "k1", "j1", "t"), kNow, event("released"));
  const auto other = owned(seat("l2"), "k2", "j2", "t");
  EXPECT_EQ(store().take_seat(other, kNow, event("released")), SeatOutcome::kFull);
  EXPECT_EQ(store().take_seat(other, kNow + 100, event("released")), SeatOutcome::kGranted);
}

TEST_P(StoreContract, ALeaseIsMovedByItsOwnKeyOnly) {
  add_asset_and_contract();
  const auto mine = owned(seat("l1"), "k1", "j1", "a");
  store().take_seat(mine, kNow, event("released"));
  auto theirs = renewal(mine, "j2", "a", "b");
  theirs.proof.sentinel_key = "k2";
  EXPECT_EQ(store().renew_lease(theirs, kNow, event("renewed")), SeatOutcome::kGone);
  theirs.proof = {};
  EXPECT_EQ(store().renew_lease(theirs, kNow, event("renewed")), SeatOutcome::kGone) << "without a proof";
  EXPECT_EQ(store().release_lease("t1", "c", "l1", proof("k2", "j3"), kNow, event("end")), ReleaseOutcome::kGone);
  EXPECT_EQ(store().release_lease("t1", "c", "l1", {}, kNow, event("end")), ReleaseOutcome::kGone);
  EXPECT_EQ(store().release_lease("t2", "c", "l1", proof("k1", "j4"), kNow, event("end")), ReleaseOutcome::kGone);
  EXPECT_EQ(store().find_seat("t1", "c", "m", "hw", kNow), "") << "it is nobody's to take up without its key";
  EXPECT_EQ(state_of(store(), "l1"), api::LeaseState::kActive);
  EXPECT_EQ(store().release_lease("t1", "c", "l1", proof("k1", "j5"), kNow, event("end")), ReleaseOutcome::kReleased);
  EXPECT_EQ(store().release_lease("t1", "c", "l1", proof("k1", "j6"), kNow, event("end")), ReleaseOutcome::kGone);
}

TEST_P(StoreContract, ALeaseWithoutKeyIsRenewedAndReleasedWithoutOne) {
  add_asset_and_contract();
  auto old = seat("l1");
  old.renewal_hash = hash_of("a");
  store().take_seat(old, kNow, event("released"));
  old.renewal_hash = hash_of("b");
  EXPECT_EQ(store().renew_lease(old, kNow, event("renewed")), SeatOutcome::kGranted);
  auto keyed = renewal(old, "j1", "b", "c");
  keyed.proof = proof("k1", "j1");
  EXPECT_EQ(store().renew_lease(keyed, kNow, event("renewed")), SeatOutcome::kGone);
  EXPECT_EQ(store().release_lease("t1", "c", "l1", {}, kNow, event("end")), ReleaseOutcome::kReleased);
}

TEST_P(StoreContract, EachRenewalTokenServesOnceAndOnceMoreForTheSameRequest) {
  add_asset_and_contract();
  const auto mine = owned(seat("l1"), "k1", "j0", "a");
  store().take_seat(mine, kNow, event("released"));
  EXPECT_EQ(store().renew_lease(renewal(mine, "j1", "a", "b"), kNow, event("renewed")), SeatOutcome::kGranted);
  EXPECT_EQ(store().renew_lease(renewal(mine, "j2", "b", "c"), kNow, event("renewed")), SeatOutcome::kGranted);
  EXPECT_EQ(store().renew_lease(renewal(mine, "j3", "b", "d"), kNow, event("renewed")), SeatOutcome::kGranted)
      << "the answer with c was lost";
  EXPECT_EQ(store().renew_lease(renewal(mine, "j4", "d", "e"), kNow, event("renewed")), SeatOutcome::kGranted);
  EXPECT_EQ(store().list_leases("t1", "c", "", 1)[0].generation, 4) << "a repetition is no step of its own";
}

/// The lease after `shown` came in `request`, when a was followed by b, and b by c.
void expect_clone(Store& store, const SeatRequest& mine, const std::string& shown, const std::string& request) {
  const UnixMs now = 1800000000000;
  const Event told{.type = "renewed", .tenant = "t1", .actor = "test", .subject = "s"};
  store.take_seat(mine, now, told);
  EXPECT_EQ(store.renew_lease(renewal(mine, "j1" + shown + request, "a", "b"), now, told), SeatOutcome::kGranted);
  EXPECT_EQ(store.renew_lease(renewal(mine, "j2" + shown + request, "b", "c"), now, told), SeatOutcome::kGranted);
  EXPECT_EQ(store.renew_lease(renewal(mine, "j3" + shown + request, shown, "x", request), now, told),
            SeatOutcome::kCloned)
      << shown;
  EXPECT_EQ(state_of(store, mine.lease_id), api::LeaseState::kRevoked) << shown;
  EXPECT_EQ(store.renew_lease(renewal(mine, "j4" + shown + request, "c", "y"), now, told), SeatOutcome::kCloned)
      << "it is final for the other one, too";
}

TEST_P(StoreContract, ATokenThatHasServedRevokesTheLease) {
  add_asset_and_contract();
  expect_clone(store(), owned(seat("l1"), "k1", "j0", "a"), "a", "r");
  expect_clone(store(), owned(seat("l2"), "k2", "j0", "a"), "b", "another request");
  expect_clone(store(), owned(seat("l3"), "k3", "j0", "a"), "never-given", "r");
  const auto types = event_types();
  EXPECT_EQ(std::ranges::count(types, "lease_cloned"), 3);
  EXPECT_FALSE(store().lease_serves("t1", "l3", "m", kNow));
}

TEST_P(StoreContract, ASecondRepetitionRevokesTheLease) {
  add_asset_and_contract();
  const auto mine = owned(seat("l1"), "k1", "j0", "a");
  store().take_seat(mine, kNow, event("released"));
  EXPECT_EQ(store().renew_lease(renewal(mine, "j1", "a", "b"), kNow, event("renewed")), SeatOutcome::kGranted);
  EXPECT_EQ(store().renew_lease(renewal(mine, "j2", "a", "c"), kNow, event("renewed")), SeatOutcome::kGranted);
  EXPECT_EQ(store().renew_lease(renewal(mine, "j3", "a", "d"), kNow, event("renewed")), SeatOutcome::kCloned);
}

TEST_P(StoreContract, ARecordedRenewalSentAgainIsNoClone) {
  add_asset_and_contract();
  const auto mine = owned(seat("l1"), "k1", "j0", "a");
  store().take_seat(mine, kNow, event("released"));
  const auto recorded = renewal(mine, "j1", "a", "b");
  EXPECT_EQ(store().renew_lease(recorded, kNow, event("renewed")), SeatOutcome::kGranted);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(store().renew_lease(recorded, kNow, event("renewed")), SeatOutcome::kProofReplayed);
  }
  EXPECT_EQ(store().renew_lease(renewal(mine, "j2", "b", "c"), kNow, event("renewed")), SeatOutcome::kGranted);
}

TEST_P(StoreContract, ARefusalOfTheContractDoesNotUseTheToken) {
  add_asset_and_contract();
  const auto mine = owned(seat("l1"), "k1", "j0", "a");
  store().take_seat(mine, kNow, event("released"));
  store().set_contract_state("t1", "c", api::ContractState::kSuspended, kNow, event("suspended"));
  EXPECT_EQ(store().renew_lease(renewal(mine, "j1", "a", "b"), kNow, event("renewed")), SeatOutcome::kChanged);
  store().set_contract_state("t1", "c", api::ContractState::kActive, kNow, event("resumed"));
  auto later = renewal(mine, "j1", "a", "b");
  later.policy_version = 3;
  EXPECT_EQ(store().renew_lease(later, kNow, event("renewed")), SeatOutcome::kGranted);
}

TEST_P(StoreContract, ASentinelThatStartsAnewHasItsSeatBackAndNeverTwo) {
  add_asset_and_contract();
  const auto before = owned(seat("l1"), "k1", "j1", "a");
  EXPECT_EQ(store().take_seat(before, kNow, event("released")), SeatOutcome::kGranted);
  EXPECT_EQ(store().take_seat(owned(seat("l2"), "k2", "j2", "a"), kNow, event("released")), SeatOutcome::kFull)
      << "another key";
  EXPECT_EQ(store().take_seat(owned(seat("l3", "moved"), "k1", "j3", "a"), kNow, event("released")),
            SeatOutcome::kGranted);
  EXPECT_EQ(state_of(store(), "l1"), api::LeaseState::kSuperseded);
  EXPECT_EQ(state_of(store(), "l3"), api::LeaseState::kActive);
  EXPECT_EQ(store().renew_lease(renewal(before, "j4", "a", "b"), kNow, event("renewed")), SeatOutcome::kCloned)
      << "the first one still lives: its key was copied";
  EXPECT_EQ(state_of(store(), "l3"), api::LeaseState::kActive);
  const auto types = event_types();
  EXPECT_EQ(std::ranges::count(types, "lease_superseded"), 1);
}

TEST_P(StoreContract, ASeatThatIsNotGivenSupersedesNothing) {
  add_asset_and_contract(2);
  auto first = owned(seat("l1"), "k1", "j1", "a");
  auto second = owned(seat("l2"), "k2", "j2", "a");
  first.max_seats = second.max_seats = 2;
  store().take_seat(first, kNow, event("released"));
  store().take_seat(second, kNow, event("released"));
  auto anew = owned(seat("l3"), "k1", "j3", "a");
  anew.max_seats = 1;
  EXPECT_EQ(store().take_seat(anew, kNow, event("released")), SeatOutcome::kFull) << "fewer seats than before";
  EXPECT_EQ(state_of(store(), "l1"), api::LeaseState::kActive);
}

TEST_P(StoreContract, TheNextFreeSeatIsThatOfTheLeaseThatEndsFirst) {
  add_asset_and_contract(2);
  EXPECT_FALSE(store().next_seat_end("t1", "c", kNow).has_value());
  auto first = seat("l1");
  auto second = seat("l2");
  first.max_seats = second.max_seats = 2;
  second.seat_until = kNow + 50;
  store().take_seat(first, kNow, event("released"));
  store().take_seat(second, kNow, event("released"));
  EXPECT_EQ(store().next_seat_end("t1", "c", kNow), kNow + 50);
  EXPECT_EQ(store().next_seat_end("t1", "c", kNow + 50), kNow + 100);
  EXPECT_FALSE(store().next_seat_end("t1", "c", kNow + 100).has_value());
  EXPECT_FALSE(store().next_seat_end("t2", "c", kNow).has_value());
}

TEST_P(StoreContract, WhoHoldsALeaseIsItsKeyWhileItLasts) {
  add_asset_and_contract();
  store().take_seat(owned(seat("l1"), "k1", "j1", "a"), kNow, event("released"));
  EXPECT_TRUE(store().holds_lease("t1", "c", "l1", "k1", kNow + 99));
  EXPECT_FALSE(store().holds_lease("t1", "c", "l1", "k1", kNow + 100));
  EXPECT_FALSE(store().holds_lease("t1", "c", "l1", "k2", kNow));
  EXPECT_FALSE(store().holds_lease("t1", "c", "l1", "", kNow));
  EXPECT_FALSE(store().holds_lease("t2", "c", "l1", "k1", kNow));
  EXPECT_FALSE(store().holds_lease("t1", "d", "l1", "k1", kNow));
  store().end_lease("t1", "c", "l1", api::LeaseState::kEvicted, kNow, event("end"));
  EXPECT_FALSE(store().holds_lease("t1", "c", "l1", "k1", kNow));
}

TEST_P(StoreContract, VersionsOfManyContractsAtOnce) {
  add_asset_and_contract();
  std::vector<ContractName> names{{"t1", "c"}, {"t2", "c"}};
  for (int i = 0; i < 120; ++i) names.push_back({"t1", "none-" + std::to_string(i)});
  store().create_contract(contract("d"), {}, event("contract_created"));
  names.push_back({"t1", "d"});
  store().set_contract_state("t1", "c", api::ContractState::kSuspended, kNow, event("suspended"));
  auto versions = store().contract_versions(names);
  ASSERT_EQ(versions.size(), 2U);
  std::ranges::sort(versions, {}, &ContractVersion::name);
  EXPECT_EQ(versions[0].name.contract_id, "c");
  EXPECT_EQ(versions[0].policy_version, 2);
  EXPECT_EQ(versions[1].name.contract_id, "d");
  EXPECT_EQ(versions[1].policy_version, 1);
  EXPECT_TRUE(store().contract_versions({}).empty());
}

TEST_P(StoreContract, PurgeTakesWhatIsOverAndNothingElse) {
  add_asset_and_contract(2);
  auto first = owned(seat("l1"), "k1", "j1", "a");
  first.jwk_thumbprint = "thumb";
  store().take_seat(first, kNow, event("released"));
  store().add_nonce("t1", "c", hash_of("n"), kNow, kNow + 10, 5);
  Purged nothing = store().purge(kNow);
  EXPECT_EQ(nothing.proofs + nothing.nonces + nothing.jwks + nothing.leases, 0);

  const Purged soon = store().purge(kNow + 120000);
  EXPECT_EQ(soon.proofs, 1);
  EXPECT_EQ(soon.nonces, 1);
  EXPECT_EQ(soon.jwks + soon.leases, 0);
  EXPECT_FALSE(soon.more);
  EXPECT_EQ(store().list_leases("t1", "c", "", 10).size(), 1U) << "it has ended, and is still to be seen";

  const Purged late = store().purge(kNow + kRetentionMs + 100);
  EXPECT_EQ(late.jwks, 1);
  EXPECT_EQ(late.leases, 1);
  EXPECT_TRUE(store().list_leases("t1", "c", "", 10).empty());
  EXPECT_EQ(event_types().back(), "leases_purged");
}

TEST_P(StoreContract, ActiveLeasesAreCountedUntilTheirSeatIsFree) {
  add_asset_and_contract(3);
  auto first = seat("l1");
  first.seat_until = kNow + 100;
  auto second = seat("l2", "hw2");
  first.max_seats = second.max_seats = 3;
  second.seat_until = kNow + 200;
  store().take_seat(first, kNow, event("released"));
  store().take_seat(second, kNow, event("released"));
  EXPECT_EQ(store().count_active_leases(kNow), 2);
  EXPECT_EQ(store().count_active_leases(kNow + 100), 1);
  EXPECT_TRUE(store().end_lease("t1", "c", "l2", api::LeaseState::kEvicted, kNow, event("evicted")));
  EXPECT_EQ(store().count_active_leases(kNow), 1);
  EXPECT_EQ(store().count_active_leases(kNow + 200), 0);
}

// Two stores on one database as two nodes; sentinels that start, crash and start again, renew, release, all at once.
TEST_P(StoreContract, NeverMoreSeatsThanSoldFromTwoNodesAndManySentinels) {
  constexpr std::int64_t kSeats = 3;
  constexpr int kSentinels = 6;
  add_asset_and_contract(kSeats);
  const auto other = under_test_.open_again();
  std::atomic<int> granted{0}, full{0}, oversold{0}, twice{0};
  {
    std::vector<std::jthread> sentinels;
    for (int number = 0; number < kSentinels; ++number) {
      sentinels.emplace_back([&, number] {
        Store& node = number % 2 == 0 ? store() : *other;
        const std::string key = "k" + std::to_string(number);
        std::minstd_rand chance(static_cast<unsigned>(number));
        for (int life = 0; life < 12; ++life) {
          const std::string id = key + "-" + std::to_string(life);
          auto wish = owned(seat(id, "hw" + key), key, "j-" + id, "a");
          wish.max_seats = kSeats;
          if (node.take_seat(wish, kNow, event("released")) != SeatOutcome::kGranted) {
            ++full;
            continue;
          }
          ++granted;
          std::int64_t active = 0, of_this_key = 0;
          for (const auto& lease : node.list_leases("t1", "c", "", 1000)) {
            if (lease.state != api::LeaseState::kActive) continue;
            ++active;
            if (lease.hw_id == "hw" + key) ++of_this_key;
          }
          if (active > kSeats) ++oversold;
          if (of_this_key > 1) ++twice;
          if (chance() % 2 == 0) node.renew_lease(renewal(wish, "r-" + id, "a", "b"), kNow, event("renewed"));
          // The others are killed: their seat comes back with their key.
          if (chance() % 2 == 0) node.release_lease("t1", "c", id, proof(key, "e-" + id), kNow, event("end"));
        }
      });
    }
  }
  EXPECT_EQ(oversold.load(), 0);
  EXPECT_EQ(twice.load(), 0);
  EXPECT_GE(granted.load(), kSeats);
  EXPECT_EQ(granted.load() + full.load(), kSentinels * 12);
  event_types();
}

}  // namespace
}  // namespace tb::store
