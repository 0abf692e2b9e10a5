#include "controlplane/billing.h"

#include "async/stop.h"
#include "base/crypto.h"

namespace tb::controlplane {
namespace {

/// After so many in a row it is not the contract but the marketplace that is away: the next round tries again.
constexpr int kMostFailures = 3;
constexpr const char* kTurnName = "marketplace";

std::vector<store::BillingEvent> store_events(std::span<const meter::HourEvent> events, bool fate_unknown) {
  std::vector<store::BillingEvent> out;
  for (const auto& event : events) out.push_back({event.dimension, event.hour, event.quantity, fate_unknown});
  return out;
}

}  // namespace

meter::HourBooks::Standing StoreBooks::standing(const std::string& dimension, UnixMs oldest, UnixMs newest) {
  auto found = store_.billing_standing(place_, dimension, oldest, newest);
  return {.owed = std::move(found.owed), .held = found.held, .taken = std::move(found.taken)};
}

void StoreBooks::add(std::span<const meter::HourEvent> events) {
  store_.add_billing_events(turn_, place_, store_events(events, false));
}

std::vector<meter::WaitingEvent> StoreBooks::waiting() {
  std::vector<meter::WaitingEvent> out;
  for (auto& event : store_.waiting_billing_events(place_)) {
    out.push_back(
        {.event = {std::move(event.dimension), event.hour, event.quantity}, .fate_unknown = event.fate_unknown});
  }
  return out;
}

void StoreBooks::set(std::span<const meter::HourEvent> events, meter::EventState state, bool fate_unknown,
                     const std::string& detail) {
  store_.set_billing_events(turn_, place_, store_events(events, fate_unknown), static_cast<store::BillingState>(state),
                            detail);
}

meter::EventSum StoreBooks::accepted_of_day(const std::string& dimension, UnixMs day) {
  const auto found = store_.billed_of_day(place_, dimension, day);
  return {.quantity = found.quantity, .count = found.count};
}

meter::HourBooks::Sums StoreBooks::sums(const std::string& dimension) {
  const auto found = store_.billing_sums(place_, dimension);
  return {.owed = found.owed, .accepted = found.accepted, .pending = found.pending};
}

void StoreBooks::leave() {
  std::vector<meter::HourEvent> unsent;
  for (auto& row : waiting()) {
    if (!row.fate_unknown) unsent.push_back(std::move(row.event));
  }
  if (!unsent.empty()) set(unsent, meter::EventState::kGivenUp, false, "the contract names another place");
}

struct Biller::Gauges {
  explicit Gauges(obs::Metrics& m)
      : owed(m.gauge("tb_cp_billing_owed_units", "units owed at marketplaces, by contracts that name one now")),
        accepted(m.gauge("tb_cp_billing_accepted_units", "units of them that marketplaces accepted")),
        waiting(m.gauge("tb_cp_billing_waiting_events", "events that a marketplace has not decided")),
        faults(m.counter("tb_cp_billing_failures_total", "attempts to bring usage to a marketplace that failed")) {}
  obs::Gauge &owed, &accepted, &waiting;
  obs::Counter& faults;
};

Biller::Biller(store::Store& store, std::string tenant, SinkFor sink_for, Clock clock, obs::Metrics& metrics,
               obs::Log log)
    : store_(store),
      tenant_(std::move(tenant)),
      sink_for_(std::move(sink_for)),
      clock_(std::move(clock)),
      log_(std::move(log)),
      holder_(random_token(16)),
      gauges_(std::make_shared<Gauges>(metrics)) {}

bool Biller::take_turn() {
  const UnixMs now = clock_();
  auto turn = store_.take_turn(kTurnName, holder_, now, now + kTurnMs);
  if (!turn) return false;
  turn_ = std::move(*turn);
  turn_taken_ = now;
  return true;
}

const store::Turn& Biller::turn() {
  const UnixMs age = clock_() - turn_taken_;
  if ((age < 0 || age > kTurnMs / 3) && !take_turn()) {
    throw Error("database_busy", "another node brings usage to the marketplace");
  }
  return turn_;
}

void Biller::round(const std::stop_token& stop) {
  if (boot_ms_now() < not_before_boot_ms_) return;
  auto accounts = store_.billing_accounts();
  std::erase_if(accounts, [&](const auto& account) { return account.place.tenant != tenant_; });
  if (accounts.empty() || !take_turn()) return;
  for (const auto& account : accounts) {
    if (account.moved) StoreBooks(store_, turn(), account.place).leave();
  }
  for (const auto& account : accounts) {
    if (stop.stop_requested()) break;
    StoreBooks books(store_, turn(), account.place);
    meter::HourOutbox(books, account.dimensions).seal(clock_(), kSettleMs);
  }
  drain_all(accounts, stop);
  show_sums(accounts);
  store_.end_turn(turn_);
}

void Biller::drain_all(const std::vector<store::BillingAccount>& accounts, const std::stop_token& stop) {
  std::size_t waiting = 0;
  int failures = 0;
  bool quiet = true;
  const std::size_t first = first_++;
  for (std::size_t i = 0; i < accounts.size() && failures < kMostFailures && !stop.stop_requested(); ++i) {
    const auto& account = accounts[(first + i) % accounts.size()];
    const auto done = drain(account, stop);
    waiting += done.waiting;
    if (!done.trouble) {
      failures = 0;
      continue;
    }
    quiet = false;
    gauges_->faults.add();
    if (last_trouble_ != done.trouble->reason) {
      log_.warn("usage was not taken by the marketplace",
                {{"contract", account.place.contract_id}, {"why", done.trouble->story()}});
    }
    last_trouble_ = done.trouble->reason;
    if (done.trouble->reason == "marketplace_unavailable") ++failures;
    if (done.retry_after_ms) {
      not_before_boot_ms_ = boot_ms_now() + *done.retry_after_ms;
      break;
    }
  }
  if (quiet) last_trouble_.clear();
  gauges_->waiting.set(static_cast<double>(waiting));
}

meter::HourOutbox::Round Biller::drain(const store::BillingAccount& account, const std::stop_token& stop) {
  StoreBooks books(store_, turn(), account.place);
  meter::EventSink& sink = sink_for_(account.place);
  sink.use_stop(stop);
  const auto done = meter::HourOutbox(books, account.dimensions).drain(sink, clock_());
  if (done.inactive || done.accepted > 0) tell_inactive(account.place, done.inactive.has_value());
  return done;
}

/// Once for each change that this process sees.
void Biller::tell_inactive(const store::BillingPlace& place, bool inactive) {
  const bool changed = inactive ? inactive_.insert(place).second : inactive_.erase(place) > 0;
  if (!changed) return;
  store::Event event{.type = inactive ? "subscription_inactive" : "subscription_active",
                     .tenant = place.tenant,
                     .actor = "marketplace",
                     .subject = place.contract_id};
  event.detail.set("resource_id", place.resource);
  store_.append_event(event);
  log_.warn(inactive ? "the marketplace says that the subscription is not active" : "the subscription is active again",
            {{"contract", place.contract_id}});
}

void Biller::show_sums(const std::vector<store::BillingAccount>& accounts) {
  store::BillingSums all;
  for (const auto& account : accounts) {
    for (const auto& dimension : account.dimensions) {
      const auto one = store_.billing_sums(account.place, dimension);
      all.owed += one.owed;
      all.accepted += one.accepted;
    }
  }
  gauges_->owed.set(static_cast<double>(all.owed));
  gauges_->accepted.set(static_cast<double>(all.accepted));
}

Billing::Billing(Biller biller, obs::Log log, std::int64_t every_ms)
    : biller_(std::move(biller)), thread_([this, log = std::move(log), every_ms](const std::stop_token& stop) {
        do {
          try {
            biller_.round(stop);
          } catch (const Error& error) {
            log.error("usage could not be brought to the marketplace", error, obs::Level::kWarn);
          }
        } while (async::sleep_unless_stopped(stop, std::chrono::milliseconds(every_ms)));
      }) {}

}  // namespace tb::controlplane
