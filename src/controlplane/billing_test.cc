// Several sentinels of a contract, one control plane or two, and a marketplace: what is accepted is what is owed. spec:
// wire 2.6
#include "controlplane/billing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <array>
#include <filesystem>
#include <fstream>

#include "base/crypto.h"
#include "base/test_scale.h"
#include "controlplane/killing_connection_test.h"
#include "meter/failing_marketplace_test.h"
#include "sql/sqlite.h"
#include "store/open.h"
#include "store/sql_store.h"

namespace tb::controlplane {
namespace {

using api::kHourMs;
using testing::ElementsAre;
using Kind = meter::EventAnswer::Kind;
constexpr UnixMs kStart = 1'795'651'200'000;
constexpr UnixMs kMinute = 60'000;

Json marketplace_of(const std::string& resource) {
  return value_or_throw(
      Json::parse(R"({"resource_id":")" + resource + R"(","plan_id":"gold","dimensions":["tokens","requests"]})"));
}

store::Event event(const std::string& type) {
  return {.type = type, .tenant = "t", .actor = "test", .subject = "c"};
}

/// A store with contracts, and sentinels that report to it.
class World {
 public:
  explicit World(store::Store& store) : store_(store) {}

  void begin() {
    store_.add_token({.token_id = "id", .hash = Bytes(32), .role = store::Role::kProvider, .tenant = "t"},
                     event("token"));
    store::AssetRow asset;
    asset.view.tenant = "t";
    asset.view.asset_id = "m";
    asset.view.metadata.sha256_ciphertext = std::string(64, 'a');
    asset.key = {.kek_id = "k", .wrapped = Bytes(40)};
    store_.register_asset(asset, event("asset"));
  }
  void make_contract(const std::string& id, const Json& marketplace, int seats) {
    api::Contract contract;
    contract.tenant = "t";
    contract.contract_id = id;
    contract.terms.consumer = "acme";
    contract.terms.asset_ids = {"m"};
    contract.terms.not_after = 4102444800000;
    contract.terms.max_seats = seats;
    contract.terms.marketplace = marketplace;
    store_.create_contract(contract, {}, event("contract"));
    for (int i = 0; i < seats; ++i) {
      const std::string hw_id = "hw" + std::to_string(i);
      store_.take_seat({.tenant = "t",
                        .contract_id = id,
                        .policy_version = 1,
                        .lease_id = "l-" + id + std::to_string(i),
                        .asset_id = "m",
                        .hw_id = hw_id,
                        .client_version = "1",
                        .max_seats = seats,
                        .expires_at = kStart,
                        .seat_until = kStart},
                       kStart - 1, event("released"));
    }
  }
  void name(const std::string& id, const Json& marketplace, UnixMs now) {
    const auto row = store_.find_contract("t", id);
    auto terms = row->contract.terms;
    terms.marketplace = marketplace;
    store_.update_terms("t", id, row->contract.policy_version, terms, now, event("changed"));
  }
  /// What the sentinel in this seat did in the hour of `at`.
  void report(const std::string& id, int seat, std::int64_t tokens, UnixMs at) {
    const std::string lease = "l-" + id + std::to_string(seat);
    const std::int64_t seq = seq_++;
    const api::UsageRecord record{.id = api::usage_id(lease, seq, seq),
                                  .origin = lease,
                                  .first_seq = seq,
                                  .last_seq = seq,
                                  .from = at,
                                  .to = at,
                                  .usage = {{"tokens", tokens}, {"requests", 1}}};
    const api::UsageReport body{.contract_id = id, .lease_id = lease, .records = {record}};
    store_.append_usage("t", body, at, event(""));
    // Its answer was lost: a repeat is harmless.
    if (seq % 5 == 0) store_.append_usage("t", body, at, event(""));
  }

 private:
  store::Store& store_;
  std::int64_t seq_ = 0;
};

class BillingTest : public testing::Test {
 protected:
  void SetUp() override {
    world_.begin();
    market_.trouble = 0;
    market_.now = kStart;
  }
  Biller biller(const std::string& tenant = "t") {
    return {*store_,
            tenant,
            [this](const store::BillingPlace& place) -> meter::EventSink& {
              market_.resource = place.resource;
              return market_;
            },
            [this] { return market_.now; },
            metrics_,
            {}};
  }
  std::int64_t taken(const std::string& resource, const std::string& dimension, UnixMs hour) {
    const auto found = market_.taken.find({resource, dimension, hour});
    return found == market_.taken.end() ? 0 : found->second;
  }
  std::vector<std::string> event_types() {
    std::vector<std::string> out;
    for (const auto& one : store_->list_events({}, -1, 1000)) {
      out.push_back(value_or_throw(Json::parse(one.line)).find("type")->as_string());
    }
    return out;
  }

  std::unique_ptr<store::Store> store_ = store::open_sqlite_store(":memory:");
  World world_{*store_};
  std::mt19937 random_;
  meter::FailingMarketplace market_{random_};
  obs::Metrics metrics_;
};

TEST_F(BillingTest, AllSeatsOfAnHourAreOneEvent) {
  world_.make_contract("c", marketplace_of("res"), 3);
  for (int seat = 0; seat < 3; ++seat) world_.report("c", seat, 10 + seat, kStart + seat * kMinute);
  Biller one = biller();
  market_.now = kStart + kHourMs + 4 * kMinute;
  one.round();
  EXPECT_TRUE(market_.taken.empty()) << "others may still report";
  market_.now += kMinute;
  one.round();
  EXPECT_EQ(taken("res", "tokens", kStart), 33);
  EXPECT_EQ(taken("res", "requests", kStart), 3);
  one.round();
  EXPECT_EQ(market_.taken.size(), 2U);
  const std::string shown = metrics_.prometheus_text();
  EXPECT_THAT(shown, testing::HasSubstr("tb_cp_billing_owed_units 36"));
  EXPECT_THAT(shown, testing::HasSubstr("tb_cp_billing_accepted_units 36"));
}

TEST_F(BillingTest, WhatComesLateIsInTheNextEvent) {
  world_.make_contract("c", marketplace_of("res"), 2);
  world_.report("c", 0, 10, kStart);
  Biller one = biller();
  market_.now = kStart + kHourMs + 5 * kMinute;
  one.round();
  world_.report("c", 1, 7, kStart);
  market_.now += kHourMs;
  one.round();
  EXPECT_EQ(taken("res", "tokens", kStart), 10);
  EXPECT_EQ(taken("res", "tokens", kStart + kHourMs), 7);
}

TEST_F(BillingTest, OnlyContractsOfTheTenantThatNameAMarketplaceAreReported) {
  world_.make_contract("c", marketplace_of("res"), 1);
  world_.make_contract("d", Json::object(), 1);
  world_.report("c", 0, 10, kStart);
  world_.report("d", 0, 10, kStart);
  market_.now = kStart + kHourMs + 5 * kMinute;
  biller("another").round();
  EXPECT_TRUE(market_.taken.empty());
  biller().round();
  EXPECT_EQ(market_.ours["tokens"], 10);
}

TEST_F(BillingTest, OneNodeAtATime) {
  world_.make_contract("c", marketplace_of("res"), 1);
  world_.report("c", 0, 10, kStart);
  market_.now = kStart + kHourMs + 5 * kMinute;
  ASSERT_TRUE(store_->take_turn("marketplace", "a node that has died", market_.now, market_.now + kMinute));
  Biller one = biller();
  one.round();
  EXPECT_TRUE(market_.taken.empty());
  market_.now += kMinute;
  one.round();
  EXPECT_EQ(market_.taken.size(), 2U);
  EXPECT_TRUE(store_->take_turn("marketplace", "another", market_.now, market_.now + 1)) << "it is given back";
}

TEST_F(BillingTest, AContractThatNamesAnotherResourceTakesAlongWhatWasNotSent) {
  world_.make_contract("c", marketplace_of("wrong"), 1);
  world_.report("c", 0, 10, kStart);
  market_.now = kStart + kHourMs + 5 * kMinute;
  {
    // Sealed for the wrong resource, and never sent: the marketplace is away.
    const auto turn = store_->take_turn("marketplace", "x", market_.now, market_.now + 1);
    StoreBooks books(*store_, *turn, store_->billing_accounts()[0].place);
    meter::HourOutbox(books, {"tokens", "requests"}).seal(market_.now);
    store_->end_turn(*turn);
  }
  world_.name("c", marketplace_of("right"), market_.now);
  biller().round();
  EXPECT_EQ(taken("right", "tokens", kStart), 10);
  EXPECT_EQ(taken("wrong", "tokens", kStart), 0);
  EXPECT_EQ(market_.ours["requests"], 1);
}

TEST_F(BillingTest, ContractsOfOneResourceTakeItsHoursInTurn) {
  world_.make_contract("c", marketplace_of("res"), 1);
  world_.make_contract("d", marketplace_of("res"), 1);
  Biller one = biller();
  for (int hour = 0; hour < 10; ++hour) {
    const UnixMs at = kStart + hour * kHourMs;
    world_.report("c", 0, 1, at);
    world_.report("d", 0, 100, at);
    market_.now = at + kHourMs + 5 * kMinute;
    one.round();
  }
  market_.now += kHourMs;
  one.round();
  market_.now += kHourMs;
  one.round();
  EXPECT_EQ(market_.ours["tokens"], 1010);
  for (const auto* id : {"c", "d"}) {
    const store::BillingPlace place{.tenant = "t", .contract_id = id, .resource = "res", .plan = "gold"};
    const auto sums = store_->billing_sums(place, "tokens");
    EXPECT_EQ(sums.accepted, sums.owed) << id;
  }
}

/// Says the same of every event.
class OneAnswer final : public meter::EventSink {
 public:
  std::expected<std::vector<meter::EventAnswer>, Trouble> send(std::span<const meter::HourEvent> events) override {
    sent += events.size();
    return std::vector<meter::EventAnswer>(events.size(), {.kind = kind});
  }
  meter::EventSum submitted(const std::string&, UnixMs) override { return {}; }
  Kind kind = Kind::kInactive;
  std::size_t sent = 0;
};

TEST_F(BillingTest, AnInactiveSubscriptionIsAnEventForTheProvider) {
  world_.make_contract("c", marketplace_of("res"), 1);
  world_.report("c", 0, 10, kStart);
  market_.now = kStart + kHourMs + 5 * kMinute;
  OneAnswer sink;
  Biller one(
      *store_, "t", [&](const store::BillingPlace&) -> meter::EventSink& { return sink; }, [&] { return market_.now; },
      metrics_, {});
  one.round();
  one.round();
  EXPECT_EQ(std::ranges::count(event_types(), "subscription_inactive"), 1);
  EXPECT_EQ(std::ranges::count(event_types(), "subscription_active"), 0);
  sink.kind = Kind::kAccepted;
  one.round();
  EXPECT_EQ(event_types().back(), "subscription_active");
  EXPECT_EQ(sink.sent, 6U);
}

/// Two nodes and two or three seats of each contract. A node dies at any point, or is so slow that the other takes over
/// while its batch is on its way; contracts move; what sentinels report is late.
void live_once(unsigned seed) {
  std::mt19937 random(seed);
  const auto below = [&](std::int64_t end) { return std::uniform_int_distribution<std::int64_t>(0, end - 1)(random); };
  const auto store = store::open_sqlite_store(":memory:");
  World world(*store);
  world.begin();
  meter::FailingMarketplace market(random);
  market.now = kStart;
  const int seats = 2 + static_cast<int>(below(2));
  const bool shared = below(4) == 0, others = below(4) == 0, moves = below(3) == 0;
  const std::vector<std::string> contracts = {"c", "d"};
  const std::vector<std::string> dimensions = {"tokens", "requests"};
  std::map<std::string, std::string> resource_of = {{"c", "res"}, {"d", shared ? "res" : "other"}};
  for (const auto& id : contracts) world.make_contract(id, marketplace_of(resource_of[id]), seats);

  UnixMs skew = 0;
  obs::Metrics metrics;
  const auto node = [&] {
    return Biller(
        *store, "t",
        [&](const store::BillingPlace& place) -> meter::EventSink& {
          market.resource = place.resource;
          return market;
        },
        [&] { return market.now + skew; }, metrics, {});
  };
  std::array<std::optional<Biller>, 2> nodes = {node(), node()};
  const auto work = [&](std::size_t which) {
    try {
      nodes[which]->round();
    } catch (const meter::Killed&) {
      nodes[which].emplace(node());
    } catch (const Error& error) {
      ASSERT_EQ(error.reason, "database_busy");
    }
  };
  std::size_t busy = 0;
  bool within = false;
  market.meanwhile = [&] {
    if (within || below(4) != 0) return;
    within = true;
    const std::string resource = market.resource;
    market.now += Biller::kTurnMs + 1;
    work(1 - busy);
    market.resource = resource;
    within = false;
  };
  std::map<std::pair<std::string, std::string>, std::int64_t> owed;
  struct Late {
    std::string id;
    int seat;
    std::int64_t tokens;
    UnixMs at;
  };
  std::vector<Late> late;
  const auto tell_late = [&](std::size_t leave) {
    while (late.size() > leave) {
      const Late one = late.back();
      late.pop_back();
      world.report(one.id, one.seat, one.tokens, one.at);
    }
  };
  const std::int64_t steps = 5 + below(20);
  for (std::int64_t step = 0; step < steps; ++step) {
    market.trouble = below(4) == 0 ? 0.95 : 0.3;
    if (below(10) == 0) skew = below(6 * kHourMs) - 3 * kHourMs;
    if (below(3) == 0) skew = 0;
    for (std::int64_t i = below(6); i > 0; --i) {
      const std::string& id = contracts[static_cast<std::size_t>(below(2))];
      late.push_back({id, static_cast<int>(below(seats)), below(50), market.now});
      owed[{id, "tokens"}] += late.back().tokens;
      owed[{id, "requests"}] += 1;
    }
    if (below(3) != 0) tell_late(static_cast<std::size_t>(below(3)));
    if (others && below(8) == 0) {
      market.take_for_another("res", "tokens", (market.now / kHourMs - below(3)) * kHourMs,
                              meter::kForeign + below(50));
    }
    if (moves && below(6) == 0) {
      resource_of["c"] = resource_of["c"] == "res" ? "new" : "res";
      world.name("c", marketplace_of(resource_of["c"]), market.now);
    }
    for (std::int64_t i = 1 + below(3); i > 0; --i) {
      busy = static_cast<std::size_t>(below(2));
      work(busy);
    }
    market.now += below(4) == 0 ? below(30 * kHourMs) : below(kHourMs);
  }
  // Everything mends; a few days pass.
  tell_late(0);
  market.trouble = 0;
  market.meanwhile = [] {};
  skew = 0;
  for (int hour = 0; hour < 110; ++hour) {
    market.now += kHourMs;
    for (auto& one : nodes) one->round();
  }
  for (const auto& dimension : dimensions) {
    std::int64_t all_owed = 0, all_accepted = 0, all_pending = 0;
    for (const auto& id : contracts) {
      const store::BillingPlace place{.tenant = "t", .contract_id = id, .resource = resource_of[id], .plan = "gold"};
      const auto sums = store->billing_sums(place, dimension);
      ASSERT_EQ(sums.owed, (owed[{id, dimension}])) << "run " << seed << " " << id << " " << dimension;
      ASSERT_EQ(sums.accepted + sums.pending, sums.owed) << "run " << seed << " " << id << " " << dimension;
      all_owed += sums.owed;
      all_accepted += sums.accepted;
      all_pending += sums.pending;
    }
    // Nothing is billed twice, ever; and all is billed, but for what cannot be decided because others report, too.
    ASSERT_LE(market.ours[dimension], all_owed) << "run " << seed << " " << dimension;
    ASSERT_GE(market.ours[dimension], all_accepted) << "run " << seed << " " << dimension;
    if (!others && !shared) ASSERT_EQ(all_pending, 0) << "run " << seed << " " << dimension;
    if (all_pending == 0) ASSERT_EQ(market.ours[dimension], all_owed) << "run " << seed << " " << dimension;
  }
}

TEST(BillingRuns, AcceptedIsOwedInEveryOne) {
  const int runs = test::scaled(150);
  for (int run = 0; run < runs && !testing::Test::HasFatalFailure(); ++run) live_once(static_cast<unsigned>(run));
}

/// What a marketplace took, in a file: it outlives those who ask it.
class BookedMarketplace final : public meter::EventSink {
 public:
  BookedMarketplace(std::string path, Lifetime& life) : path_(std::move(path)), life_(life) {}

  std::expected<std::vector<meter::EventAnswer>, Trouble> send(std::span<const meter::HourEvent> events) override {
    std::vector<meter::EventAnswer> out;
    for (const auto& one : events) {
      life_.pass();
      const auto books = read(path_);
      const auto found = books.find({one.dimension, one.hour});
      if (found != books.end()) {
        out.push_back({.kind = Kind::kDuplicate, .same = found->second == one.quantity});
        continue;
      }
      std::ofstream(path_, std::ios::app) << one.dimension << ' ' << one.hour << ' ' << one.quantity << '\n';
      out.push_back({.kind = Kind::kAccepted});
    }
    life_.pass();
    return out;
  }
  meter::EventSum submitted(const std::string&, UnixMs) override { throw Error("marketplace_unavailable", "503"); }

  static std::map<std::pair<std::string, UnixMs>, std::int64_t> read(const std::string& path) {
    std::map<std::pair<std::string, UnixMs>, std::int64_t> out;
    std::ifstream file(path);
    std::string dimension;
    UnixMs hour = 0;
    std::int64_t quantity = 0;
    while (file >> dimension >> hour >> quantity) EXPECT_TRUE(out.emplace(std::pair(dimension, hour), quantity).second);
    return out;
  }

 private:
  std::string path_;
  Lifetime& life_;
};

TEST(BillingCrash, AKillBetweenAnyTwoStepsBillsNothingTwiceAndLosesNothing) {
  const std::string dir = testing::TempDir() + "tb-billing-" + random_token(8);
  std::filesystem::create_directories(dir);
  const std::string database = dir + "/store.db", books = dir + "/books";
  UnixMs now = kStart;
  std::int64_t seq = 0;
  {
    const auto store = store::open_sqlite_store(database);
    World world(*store);
    world.begin();
    world.make_contract("c", marketplace_of("res"), 2);
  }
  // False if it was killed at that point.
  const auto round = [&](int point) {
    const pid_t child = fork();
    if (child == 0) {
      Lifetime life;
      store::SqlStore store([&] { return std::make_unique<KillingConnection>(sql::open_sqlite(database), life); }, true,
                            unix_ms_now);
      BookedMarketplace sink(books, life);
      obs::Metrics metrics;
      Biller one(
          store, "t", [&](const store::BillingPlace&) -> meter::EventSink& { return sink; }, [&] { return now; },
          metrics, {});
      life.set(point);
      one.round();
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
  };
  std::int64_t tokens = 0;
  const auto use = [&] {
    const auto store = store::open_sqlite_store(database);
    for (int seat = 0; seat < 2; ++seat, ++seq) {
      const std::string lease = "l-c" + std::to_string(seat);
      const api::UsageRecord record{.id = api::usage_id(lease, seq, seq),
                                    .origin = lease,
                                    .first_seq = seq,
                                    .last_seq = seq,
                                    .from = now,
                                    .to = now,
                                    .usage = {{"tokens", 10 + seq % 7}, {"requests", 1}}};
      tokens += 10 + seq % 7;
      store->append_usage("t", {.contract_id = "c", .lease_id = lease, .records = {record}}, now, event(""));
    }
  };
  int point = 0;
  for (bool done = false; !done && !testing::Test::HasFailure(); ++point) {
    use();
    now += kHourMs;
    done = round(point);
    // Every other time the next node comes to it within the hour.
    if (point % 2 == 0) {
      now += 10 * kMinute;
      round(-1);
      now += 50 * kMinute;
    }
  }
  EXPECT_GE(point, 30);
  for (int hour = 0; hour < 3; ++hour) {
    now += kHourMs;
    EXPECT_TRUE(round(-1));
  }
  std::map<std::string, std::int64_t> billed;
  for (const auto& [key, quantity] : BookedMarketplace::read(books)) billed[key.first] += quantity;
  EXPECT_EQ(billed["tokens"], tokens);
  EXPECT_EQ(billed["requests"], seq);
  std::filesystem::remove_all(dir);
}

}  // namespace
}  // namespace tb::controlplane
