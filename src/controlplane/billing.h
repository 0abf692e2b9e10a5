// Usage of contracts that name a marketplace, of all their sentinels together: from the store's sums to the
// marketplace, by the same outbox that a sentinel has. One node at a time does it.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>

#include "base/clock.h"
#include "meter/hour_outbox.h"
#include "obs/log.h"
#include "obs/metrics.h"
#include "store/store.h"

namespace tb::controlplane {

/// A contract's books at one place.
class StoreBooks final : public meter::HourBooks {
 public:
  StoreBooks(store::Store& store, store::Turn turn, store::BillingPlace place)
      : store_(store), turn_(std::move(turn)), place_(std::move(place)) {}

  Standing standing(const std::string& dimension, UnixMs oldest, UnixMs newest) override;
  void add(std::span<const meter::HourEvent> events) override;
  std::vector<meter::WaitingEvent> waiting() override;
  void set(std::span<const meter::HourEvent> events, meter::EventState state, bool fate_unknown,
           const std::string& detail) override;
  meter::EventSum accepted_of_day(const std::string& dimension, UnixMs day) override;
  Sums sums(const std::string& dimension) override;
  /// What was never sent goes to where the contract's usage goes now.
  void leave();

 private:
  store::Store& store_;
  store::Turn turn_;
  store::BillingPlace place_;
};

class Biller {
 public:
  /// The marketplace, as it is asked for one place's events; used until the next call.
  using SinkFor = std::function<meter::EventSink&(const store::BillingPlace& place)>;
  /// After the end of an hour, for what sentinels still have to report of it. What comes later is in the next event.
  static constexpr UnixMs kSettleMs = 5 * 60'000;
  /// How long another node waits for one that has died.
  static constexpr UnixMs kTurnMs = 3 * 60'000;

  /// `tenant`: whose contracts the marketplace's credential is for.
  Biller(store::Store& store, std::string tenant, SinkFor sink_for, Clock clock, obs::Metrics& metrics, obs::Log log);

  /// Everything that is due, if it is this node's turn. Throws what the store throws.
  void round(const std::stop_token& stop = {});

 private:
  struct Gauges;
  void drain_all(const std::vector<store::BillingAccount>& accounts, const std::stop_token& stop);
  meter::HourOutbox::Round drain(const store::BillingAccount& account, const std::stop_token& stop);
  void tell_inactive(const store::BillingPlace& place, bool inactive);
  void show_sums(const std::vector<store::BillingAccount>& accounts);
  bool take_turn();
  /// Before it may have passed on, it is taken again; throws "database_busy" if it has.
  const store::Turn& turn();

  store::Store& store_;
  std::string tenant_;
  SinkFor sink_for_;
  Clock clock_;
  obs::Log log_;
  std::string holder_;
  store::Turn turn_;
  UnixMs turn_taken_ = 0;
  std::shared_ptr<Gauges> gauges_;
  std::size_t first_ = 0;  ///< where the round begins: one that always fails holds up no other
  std::int64_t not_before_boot_ms_ = 0;
  std::set<store::BillingPlace> inactive_;
  std::string last_trouble_;
};

/// A biller's rounds: once soon after the start, then every `every_ms`.
class Billing {
 public:
  Billing(Biller biller, obs::Log log, std::int64_t every_ms = 60'000);

 private:
  Biller biller_;
  std::jthread thread_;
};

}  // namespace tb::controlplane
