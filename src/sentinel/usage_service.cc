#include "sentinel/usage_service.h"

#include <algorithm>

#include "base/clock.h"
#include "sentinel/audit_replay.h"
#include "sql/sqlite.h"

namespace tb::sentinel {
namespace {

constexpr std::int64_t kRetryMs = 1'000;
constexpr std::int64_t kDayMs = 86'400'000;
constexpr std::int64_t kKeepRecordsMs = 40 * kDayMs;
constexpr std::int64_t kFlushMs = 5'000;

}  // namespace

struct UsageService::Gauges {
  explicit Gauges(obs::Metrics& m)
      : queued(
            m.gauge("trustbridge_sentinel_ledger_queued_records", "audit records that the ledger has not taken yet")),
        faults(m.counter("trustbridge_sentinel_ledger_faults_total", "attempts to write the ledger that failed")),
        unreported(m.gauge("trustbridge_sentinel_usage_unreported_records", "usage records not reported yet")),
        conflicts(m.gauge("trustbridge_sentinel_usage_conflicting_records",
                          "usage records that contradict what the control plane counted")),
        refused(m.gauge("trustbridge_sentinel_usage_refused_records", "usage records that the control plane refused")),
        report_faults(m.counter("trustbridge_sentinel_usage_report_failures_total", "usage reports that failed")),
        interrupted(m.counter("trustbridge_sentinel_interrupted_requests_total",
                              "requests that a crash interrupted, billed by what was noted of them")),
        owed(m.gauge("trustbridge_sentinel_billing_owed_units", "units owed at the marketplace")),
        accepted(m.gauge("trustbridge_sentinel_billing_accepted_units", "units that the marketplace accepted")),
        waiting(m.gauge("trustbridge_sentinel_billing_waiting_events", "events that the marketplace has not decided")) {
  }
  obs::Gauge& queued;
  obs::Counter& faults;
  obs::Gauge &unreported, &conflicts, &refused;
  obs::Counter &report_faults, &interrupted;
  obs::Gauge &owed, &accepted, &waiting;
};

UsageService::UsageService(UsageOptions options, meter::Budgets& budgets, UnderwayBook& underway, obs::Metrics& metrics,
                           obs::Log log)
    : options_(std::move(options)),
      budgets_(budgets),
      underway_(underway),
      log_(std::move(log)),
      gauges_(std::make_unique<Gauges>(metrics)),
      db_(sql::open_sqlite(options_.ledger_path)),
      ledger_(db_) {}

UsageService::~UsageService() {
  finish(0);
}

void UsageService::take(const std::string& origin, std::uint64_t first, std::span<const AuditEntry> entries) {
  Batch batch{.origin = origin, .first = static_cast<std::int64_t>(first), .entries = {}};
  batch.entries.reserve(entries.size());
  for (const AuditEntry& entry : entries) batch.entries.push_back(ledger_entry(entry));
  const std::scoped_lock lock(mutex_);
  if (queued_ + batch.entries.size() > options_.most_queued) {
    dropped_origin_ = origin;
    return;
  }
  queued_ += batch.entries.size();
  queue_.push_back(std::move(batch));
}

void UsageService::start(AuditLog& audit, UsageSources sources) {
  sources_ = std::move(sources);
  const std::string origin = audit.view().origin;
  catch_up(origin);
  for (const auto& request : ledger_.underway()) {
    // It has no record of its own, as nothing lived to write one: it gets one now, which comes here in its turn.
    AuditEntry entry{
        .request_id = request.request_id,
        .subject = request.subject,
        .method = "POST",
        .path = request.path,
        .model = request.model,
        .outcome = Outcome::kAborted,
        .usage = meter::TokenUsage{
            .input_tokens = request.input_tokens, .output_tokens = request.output_tokens, .estimated = true}};
    if (!audit.reserve()) break;
    audit.append(std::move(entry));
    gauges_->interrupted.add();
  }
  audit.flush(kFlushMs);
  catch_up(origin);
  budgets_.restore({.by_subject = ledger_.tokens_by_subject(), .by_dimension = {}}, sources_.clock());
  if (sources_.marketplace) {
    books_.emplace(db_, sources_.resource, sources_.dimensions);
    outbox_.emplace(*books_, sources_.dimensions);
  }
  follower_ = std::jthread([this](const std::stop_token& stop) { follow(stop); });
  reporter_ = std::jthread([this](const std::stop_token& stop) { report_loop(stop); });
}

/// The same trouble once: it may last for days.
void UsageService::told(const Error& error, const char* what) {
  const std::scoped_lock lock(mutex_);
  if (last_trouble_ != error.reason) log_.error(what, error, obs::Level::kWarn);
  last_trouble_ = error.reason;
}

void UsageService::catch_up(const std::string& origin) {
  const std::int64_t from = ledger_.last_seq(origin).value_or(-1) + 1;
  replay_audit(options_.audit_dir, static_cast<std::uint64_t>(from),
               [&](std::uint64_t first, std::span<const meter::LedgerEntry> entries) {
                 ledger_.apply(origin, static_cast<std::int64_t>(first), entries);
               });
}

/// False if the ledger could not be written: the batch is tried again.
bool UsageService::apply(const Batch& batch) {
  try {
    const std::int64_t done = ledger_.last_seq(batch.origin).value_or(-1);
    // Records that no request made (of the log itself), and those that did not fit into the queue.
    if (batch.first > done + 1) catch_up(batch.origin);
    std::vector<meter::LedgerEntry> entries = batch.entries;
    const std::int64_t skew = sources_.clock() - unix_ms_now();
    for (auto& entry : entries) entry.time += skew;
    ledger_.apply(batch.origin, batch.first, entries);
    return true;
  } catch (const Error& error) {
    gauges_->faults.add();
    told(error, "the ledger could not be written");
    return false;
  }
}

void UsageService::note_underway() {
  try {
    ledger_.note_underway(underway_.older_than(boot_ms_now() - options_.underway_ms));
  } catch (const Error& error) {
    gauges_->faults.add();
    told(error, "requests under way could not be noted");
  }
}

/// All that is queued and follows one another: one commit for many.
std::optional<UsageService::Batch> UsageService::next_batch() {
  const std::scoped_lock lock(mutex_);
  std::optional<Batch> batch;
  while (!queue_.empty()) {
    Batch& next = queue_.front();
    const bool follows = batch && batch->origin == next.origin &&
                         batch->first + static_cast<std::int64_t>(batch->entries.size()) == next.first;
    if (batch && !follows) break;
    if (batch) {
      std::ranges::move(next.entries, std::back_inserter(batch->entries));
    } else {
      batch = std::move(next);
    }
    queue_.pop_front();
  }
  return batch;
}

void UsageService::follow(const std::stop_token& stop) {
  std::int64_t noted_boot_ms = 0;
  std::int64_t wait_ms = options_.gather_ms;
  while (true) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, stop, std::chrono::milliseconds(wait_ms), [] { return false; });
    }
    const bool last = stop.stop_requested();
    wait_ms = options_.gather_ms;
    while (auto batch = next_batch()) {
      const bool done = apply(*batch);
      const std::scoped_lock lock(mutex_);
      if (done) {
        queued_ -= batch->entries.size();
        continue;
      }
      queue_.push_front(std::move(*batch));
      wait_ms = kRetryMs;
      break;
    }
    make_up_for_dropped();
    if (last) return;
    if (boot_ms_now() - noted_boot_ms < options_.underway_ms) continue;
    note_underway();
    noted_boot_ms = boot_ms_now();
  }
}

/// Records that did not fit into the queue lie in the log.
void UsageService::make_up_for_dropped() {
  std::string origin;
  {
    const std::scoped_lock lock(mutex_);
    gauges_->queued.set(static_cast<double>(queued_));
    if (dropped_origin_.empty() || !queue_.empty()) return;
    origin = std::exchange(dropped_origin_, {});
  }
  try {
    catch_up(origin);
  } catch (const Error& error) {
    gauges_->faults.add();
    told(error, "the ledger could not be written");
    const std::scoped_lock lock(mutex_);
    dropped_origin_ = origin;
  }
}

void UsageService::take_quotas(const Json& quotas) {
  meter::Budgets::Quotas parsed;
  try {
    if (quotas.is_object()) parsed = api::parse_quotas(quotas);
  } catch (const Error& error) {
    log_.error("the contract's quotas are not understood", error, obs::Level::kWarn);
  }
  try {
    const UnixMs now = sources_.clock ? sources_.clock() : unix_ms_now();
    budgets_.set_quotas(parsed, ledger_.used(parsed, now), now);
  } catch (const Error& error) {
    log_.error("what was used of the contract's quotas could not be read", error, obs::Level::kWarn);
  }
  const std::scoped_lock lock(mutex_);
  quotas_ = std::move(parsed);
}

void UsageService::take_reporting(std::int64_t seats, bool by_control_plane) {
  const std::scoped_lock lock(mutex_);
  const Reporter before = billed_by_;
  billed_by_ = seats > 1 || by_control_plane ? Reporter::kControlPlane : Reporter::kHere;
  if (!outbox_ || billed_by_ == before || billed_by_ == Reporter::kHere) return;
  // What the marketplace told us ourselves is not ours to act on any more.
  inactive_.reset();
  if (by_control_plane) {
    log_.warn("the control plane reports this contract to the marketplace: TB_BILLING_ENABLED is not used here");
  } else {
    log_.warn(
        "the contract has more than one seat and no marketplace: usage goes to the control plane only, and is not "
        "billed by a marketplace unless the contract names one",
        {{"seats", seats}});
  }
}

void UsageService::check() const {
  const std::scoped_lock lock(mutex_);
  if (inactive_) throw Error(*inactive_);
}

void UsageService::hold_gpus() {
  const std::int64_t now = boot_ms_now();
  const std::int64_t since = std::exchange(gpus_since_boot_ms_, now);
  if (options_.gpus == 0 || since == 0 || !sources_.is_serving()) return;
  ledger_.add_gpu_ms(sources_.clock(), (now - since) * options_.gpus);
}

void UsageService::bill_round() {
  if (!outbox_ || boot_ms_now() < bill_not_before_boot_ms_) return;
  {
    const std::scoped_lock lock(mutex_);
    if (billed_by_ != Reporter::kHere) return;
  }
  const UnixMs now = sources_.clock();
  outbox_->seal(now);
  const auto round = outbox_->drain(*sources_.marketplace, now);
  gauges_->waiting.set(static_cast<double>(round.waiting));
  if (round.retry_after_ms) bill_not_before_boot_ms_ = boot_ms_now() + *round.retry_after_ms;
  if (round.trouble) {
    gauges_->report_faults.add();
    told(*round.trouble, "usage was not taken by the marketplace");
  }
  {
    const std::scoped_lock lock(mutex_);
    if (round.inactive || !round.trouble) inactive_ = round.inactive;
  }
  meter::HourBooks::Sums sums;
  for (const auto& dimension : sources_.dimensions) {
    const auto of_one = books_->sums(dimension);
    sums.owed += of_one.owed;
    sums.accepted += of_one.accepted;
  }
  gauges_->owed.set(static_cast<double>(sums.owed));
  gauges_->accepted.set(static_cast<double>(sums.accepted));
}

void UsageService::report_round(const std::stop_token& stop) {
  try {
    hold_gpus();
    ledger_.seal();
    const std::string lease = sources_.lease_id();
    if (!lease.empty() && sources_.post) {
      const auto round = meter::report_usage(ledger_, options_.contract_id, lease,
                                             [&](const std::string& body) { return sources_.post(body, stop); });
      if (round.trouble) {
        gauges_->report_faults.add();
        told(*round.trouble, "usage was not reported");
      } else {
        const std::scoped_lock lock(mutex_);
        last_trouble_.clear();
      }
      if (round.conflicts + round.refused > 0) {
        log_.error("usage records were not taken: they stay in the ledger",
                   {{"conflicts", round.conflicts}, {"refused", round.refused}});
      }
    }
    bill_round();
    meter::Budgets::Quotas quotas;
    {
      const std::scoped_lock lock(mutex_);
      quotas = quotas_;
    }
    const UnixMs now = sources_.clock();
    if (!quotas.empty()) budgets_.set_quotas(quotas, ledger_.used(quotas, now), now);
    if (boot_ms_now() - purged_boot_ms_ > kDayMs) {
      ledger_.purge(now - kKeepRecordsMs);
      purged_boot_ms_ = boot_ms_now();
    }
    const auto totals = ledger_.totals();
    gauges_->unreported.set(static_cast<double>(totals.unreported));
    gauges_->conflicts.set(static_cast<double>(totals.conflicts));
    gauges_->refused.set(static_cast<double>(totals.refused));
  } catch (const Error& error) {
    gauges_->faults.add();
    told(error, "usage could not be reported");
  }
}

void UsageService::report_loop(const std::stop_token& stop) {
  if (sources_.marketplace) sources_.marketplace->use_stop(stop);
  bool last = false;
  while (!last) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, stop, std::chrono::milliseconds(options_.report_ms), [&] { return finishing_; });
      if (stop.stop_requested()) break;
      last = finishing_;
    }
    report_round(stop);
  }
  const std::scoped_lock lock(mutex_);
  reported_last_ = true;
  done_.notify_all();
}

void UsageService::finish(std::int64_t ms) {
  if (!follower_.joinable()) return;
  follower_.request_stop();
  wake_.notify_all();
  follower_.join();
  {
    std::unique_lock lock(mutex_);
    finishing_ = true;
    wake_.notify_all();
    done_.wait_for(lock, std::chrono::milliseconds(ms), [&] { return reported_last_; });
  }
  reporter_.request_stop();
  wake_.notify_all();
  reporter_.join();
}

}  // namespace tb::sentinel
