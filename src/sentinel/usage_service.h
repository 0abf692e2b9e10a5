// Makes what the proxy counted durable, and brings it to those who bill.
//
// Two threads: one follows the audit log into the ledger, some records at a time, and notes what is under way; one
// reports, every TB_BILLING_INTERVAL. Nothing that serves requests waits for either. A fault of theirs is logged, shown
// as a metric, and mended by the next attempt; it never suspends. Only a marketplace that says that the subscription is
// not active does.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "meter/budget.h"
#include "meter/hour_outbox.h"
#include "meter/ledger.h"
#include "meter/ledger_books.h"
#include "meter/usage_report.h"
#include "obs/log.h"
#include "obs/metrics.h"
#include "sentinel/audit.h"
#include "sentinel/underway.h"

namespace tb::sentinel {

struct UsageOptions {
  std::string ledger_path, audit_dir, contract_id;
  std::int64_t report_ms = 60'000;
  std::int64_t gather_ms = 200;       ///< between two commits of the ledger
  std::int64_t underway_ms = 1'000;   ///< requests that last longer are noted, and looked at again as often
  std::size_t most_queued = 100'000;  ///< records; more are read from the log again
  int gpus = 0;                       ///< held ready while this serves
};

/// Whom to report to, and what else is to be known. All may be called from this object's threads.
struct UsageSources {
  /// Posts a usage report as the holder of the lease. Throws what sending throws.
  std::function<meter::ReportAnswer(const std::string& body, std::stop_token stop)> post;
  std::function<std::string()> lease_id;  ///< empty: there is none to report as
  std::function<bool()> is_serving;
  Clock clock;                                    ///< server-anchored
  std::shared_ptr<meter::EventSink> marketplace;  ///< null: none
  std::string resource;
  std::vector<std::string> dimensions;
};

class UsageService {
 public:
  /// Opens or makes the ledger (0600). Throws what the database says.
  UsageService(UsageOptions options, meter::Budgets& budgets, UnderwayBook& underway, obs::Metrics& metrics,
               obs::Log log);
  ~UsageService();
  UsageService(const UsageService&) = delete;
  UsageService& operator=(const UsageService&) = delete;

  /// Records that have become durable in the audit log. Any thread; also before start().
  void take(const std::string& origin, std::uint64_t first, std::span<const AuditEntry> entries);
  /// Reads what the ledger lacks, restores the budgets, settles what a crash interrupted, and begins.
  void start(AuditLog& audit, UsageSources sources);
  /// The contract's quotas as the lease brought them. Those that are not understood are logged and hold nothing. Any
  /// thread.
  void take_quotas(const Json& quotas);
  /// Of the contract: with more than one seat only the control plane knows all usage, and where it reports to a
  /// marketplace itself, a second reporter would take its hours. Either way nothing goes to one from here. Any thread.
  void take_reporting(std::int64_t seats, bool by_control_plane);
  /// Throws "subscription_inactive" while the marketplace says so. Any thread.
  void check() const;
  /// Ends: what is queued goes into the ledger, and one last report is tried, which may take `ms`.
  void finish(std::int64_t ms);
  meter::Ledger& ledger() { return ledger_; }
  /// Ends it at the latest here.
  struct End {
    explicit End(UsageService& usage) : usage_(usage) {}
    ~End() { usage_.finish(0); }
    End(const End&) = delete;
    End& operator=(const End&) = delete;

   private:
    UsageService& usage_;
  };

 private:
  struct Batch {
    std::string origin;
    std::int64_t first = 0;
    std::vector<meter::LedgerEntry> entries;
  };
  struct Gauges;

  void follow(const std::stop_token& stop);
  std::optional<Batch> next_batch();
  void make_up_for_dropped();
  bool apply(const Batch& batch);
  void catch_up(const std::string& origin);
  void note_underway();
  void report_loop(const std::stop_token& stop);
  void report_round(const std::stop_token& stop);
  void bill_round();
  void hold_gpus();
  void told(const Error& error, const char* what);

  const UsageOptions options_;
  meter::Budgets& budgets_;
  UnderwayBook& underway_;
  obs::Log log_;
  std::unique_ptr<Gauges> gauges_;
  meter::LedgerDb db_;
  meter::Ledger ledger_;
  UsageSources sources_;
  std::optional<meter::LedgerBooks> books_;
  std::optional<meter::HourOutbox> outbox_;
  std::int64_t bill_not_before_boot_ms_ = 0, gpus_since_boot_ms_ = 0, purged_boot_ms_ = 0;
  std::string last_trouble_;

  mutable std::mutex mutex_;  ///< of what follows
  std::condition_variable_any wake_;
  std::condition_variable done_;
  std::deque<Batch> queue_;
  std::size_t queued_ = 0;
  std::string dropped_origin_;  ///< log of records that did not fit; empty: none
  bool finishing_ = false, reported_last_ = false;
  std::optional<Error> inactive_;
  enum class Reporter { kUnknown, kHere, kControlPlane };
  Reporter billed_by_ = Reporter::kUnknown;  ///< to a marketplace
  meter::Budgets::Quotas quotas_;
  std::jthread follower_, reporter_;
};

}  // namespace tb::sentinel
