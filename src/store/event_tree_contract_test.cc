// The Merkle tree over the event log, held against whatever backend the parameter makes. spec: C2SP tlog-tiles
#include "store/store_contract_test.h"
#include "tlog/chain.h"
#include "tlog/tile.h"

namespace tb::store {
namespace {

/// Appends until there are `size` events.
void grow_to(Store& store, std::int64_t size, const Event& event) {
  while (static_cast<std::int64_t>(store.event_tree().size()) < size) store.append_event(event);
}

tlog::RowReader rows_of(Store& store) {
  return [&store](unsigned level, std::uint64_t first, std::uint64_t count) {
    return store.event_hashes(level, first, count);
  };
}

TEST_P(StoreContract, EveryEventIsALeafOfTheTree) {
  const auto again = under_test_.open_again();
  tlog::Frontier expected;
  for (int i = 0; i < 20; ++i) (i % 2 == 0 ? store() : *again).append_event(event("e" + std::to_string(i)));
  for (const auto& stored : store().list_events({}, -1, 1000)) expected.append(tlog::leaf_hash(stored.line));
  EXPECT_EQ(expected.size(), 22U);
  EXPECT_EQ(store().event_tree().root(), expected.root());
  EXPECT_EQ(again->event_tree().root(), expected.root());
  EXPECT_EQ(under_test_.open_again()->event_tree().root(), expected.root());
}

TEST_P(StoreContract, WhatIsRefusedAddsNoLeaf) {
  const auto size = store().event_tree().size();
  EXPECT_FALSE(store().revoke_token("no-such-token", event("token_revoked")));
  add_asset_and_contract();
  EXPECT_EQ(store().event_tree().size(), size + 2);
  EXPECT_THROW(store().create_contract(contract("c"), {}, event("contract_created")), Error);
  EXPECT_EQ(store().event_tree().size(), size + 2);
}

TEST_P(StoreContract, ProofsComeOutOfTheKeptRows) {
  constexpr std::int64_t kSize = 270;
  grow_to(store(), kSize, event("e"));
  const auto events = store().list_events({}, -1, 1000);
  ASSERT_EQ(events.size(), static_cast<std::size_t>(kSize));
  const tlog::Frontier tree = store().event_tree();
  for (const std::uint64_t index : {0U, 255U, 256U, 269U}) {
    tlog::TiledNodes nodes(tree.size(), rows_of(store()));
    const auto proof = tlog::inclusion_proof(index, tree.size(), nodes.reader());
    EXPECT_TRUE(tlog::verify_inclusion(tlog::leaf_hash(events[index].line), index, tree.size(), proof, tree.root()))
        << index;
  }
  // An older tree is told from the rows of the newer one.
  tlog::Frontier old;
  for (std::size_t i = 0; i < 260; ++i) old.append(tlog::leaf_hash(events[i].line));
  tlog::TiledNodes nodes(tree.size(), rows_of(store()));
  EXPECT_EQ(tlog::root_at(260, nodes.reader()), old.root());
  const auto grown = tlog::consistency_proof(260, tree.size(), nodes.reader());
  EXPECT_TRUE(tlog::verify_consistency(260, old.root(), tree.size(), tree.root(), grown));
  EXPECT_EQ(store().event_hashes(1, 0, 256).size(), 1U) << "the row above the leaves holds complete tiles only";
  EXPECT_EQ(store().event_hashes(0, 250, 256).size(), 20U);
  EXPECT_TRUE(store().event_hashes(2, 0, 256).empty());
}

TEST_P(StoreContract, AnEventIsFoundByItsNumberInItsTenantOnly) {
  const auto found = store().find_event({}, 1);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->seq, 1);
  EXPECT_EQ(found->tenant, "t1");
  EXPECT_TRUE(store().find_event("t1", 1));
  EXPECT_FALSE(store().find_event("t2", 1));
  EXPECT_FALSE(store().find_event({}, 2));
  EXPECT_FALSE(store().find_event({}, -1));
}

TEST_P(StoreContract, EventsAboutOneThingAreReadFromTheNewestOn) {
  const auto about = [](const std::string& tenant, const std::string& subject, const std::string& type) {
    return Event{.type = type, .tenant = tenant, .actor = "test", .subject = subject};
  };
  for (int i = 0; i < 6; ++i) {
    store().append_event(about("t1", i % 2 == 0 ? "c1" : "c2", "e" + std::to_string(i)));
  }
  store().append_event(about("t2", "c1", "of-another-tenant"));
  const auto types = [](const std::vector<StoredEvent>& events) {
    std::string out;
    for (const auto& stored : events) out += value_or_throw(Json::parse(stored.line)).find("type")->as_string() + " ";
    return out;
  };
  const auto newest = store().list_events_about("t1", "c1", {}, 2);
  EXPECT_EQ(types(newest), "e4 e2 ");
  EXPECT_EQ(types(store().list_events_about("t1", "c1", newest.back().seq, 2)), "e0 ");
  EXPECT_EQ(types(store().list_events_about("t1", "c2", {}, 10)), "e5 e3 e1 ");
  EXPECT_TRUE(store().list_events_about("t2", "c2", {}, 10).empty());
}

}  // namespace
}  // namespace tb::store
