// The usage ledger: what every request cost, durable, each counted once.
//
// It follows the audit log. A record of the log has an origin and a number, and the ledger remembers how far it has
// come: what was applied is not applied again, and what a crash took from the ledger is read from the log at the next
// start. So nothing that the log holds is lost or billed twice. Its rows are sums: one record for each range of the log
// and hour, for the control plane, and one row an hour, for quotas and marketplaces.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "api/usage.h"
#include "meter/budget.h"
#include "meter/ledger_db.h"
#include "meter/token_usage.h"

namespace tb::meter {

/// One record of the audit log, as far as it is money.
struct LedgerEntry {
  std::string request_id, subject;
  UnixMs time = 0;
  bool served = false;  ///< counts as a request
  TokenUsage usage;
  std::uint64_t bytes = 0;  ///< of both bodies
};

/// A request that has not ended yet: what is billed of it if this process does not live to see its end.
struct Underway {
  std::string request_id, subject, path, model;
  std::int64_t input_tokens = 0, output_tokens = 0;
};

class Ledger {
 public:
  static constexpr std::size_t kMaxSubjects = 100'000;  ///< whose budgets are remembered at a start

  explicit Ledger(LedgerDb& db) : db_(db) {}

  /// Number of the last record of `origin` that was applied.
  std::optional<std::int64_t> last_seq(const std::string& origin);
  /// Applies records number `first_seq` and following; those that were applied before are skipped. All or nothing.
  void apply(const std::string& origin, std::int64_t first_seq, std::span<const LedgerEntry> entries);
  /// Time for which GPUs were held ready, in the hour of `time`.
  void add_gpu_ms(UnixMs time, std::int64_t ms);

  /// Requests under way that have lasted a while; again with what has come of them since.
  void note_underway(std::span<const Underway> requests);
  void forget_underway(std::span<const std::string> request_ids);
  /// What an earlier process left.
  std::vector<Underway> underway();

  /// Ends the range under way, so that it can be reported.
  void seal();
  /// The oldest records that were not reported yet.
  std::vector<api::UsageRecord> unreported(std::size_t limit);
  enum class Report { kReported = 2, kConflict = 3, kRefused = 4 };
  void mark(std::span<const api::UsageRecord> records, Report how);
  /// Deletes reported records that are older than `before`, but the last of each origin.
  void purge(UnixMs before);

  /// Whole units of `dimension` since `from`, an hour of UTC.
  std::int64_t used(std::string_view dimension, UnixMs from);
  std::map<std::string, std::int64_t, std::less<>> used(const Budgets::Quotas& quotas, UnixMs now);
  std::map<std::string, std::int64_t, std::less<>> tokens_by_subject();
  struct Totals {
    std::int64_t requests = 0, input_tokens = 0, output_tokens = 0, bytes = 0, estimated = 0, disputed = 0;
    std::int64_t unreported = 0, conflicts = 0, refused = 0;  ///< records
  };
  Totals totals();

 private:
  LedgerDb& db_;
};

/// How many of the ledger's raw units (bytes, milliseconds, or the thing itself) make one of `dimension`.
std::int64_t raw_of_unit(std::string_view dimension);
/// The sum that `dimension` is made of, as SQL over the table `hour`.
std::string_view raw_sql(std::string_view dimension);

}  // namespace tb::meter
