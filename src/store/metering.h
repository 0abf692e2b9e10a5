// What the store keeps of sentinels' audit logs and of the usage that they report: the values of its verbs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "api/usage.h"
#include "base/crypto.h"

namespace tb::store {

/// The newest checkpoint of a sentinel's audit log that was countersigned.
struct WitnessedLog {
  std::string origin;
  Ed25519PublicKey key{};  ///< registered with the first checkpoint, for good
  std::string lease_id;    ///< of the sentinel that brought it
  std::uint64_t size = 0;
  Digest root{};
  std::string checkpoint;  ///< the note
  UnixMs updated_at = 0;
};

enum class WitnessOutcome {
  kAdvanced,
  kStale,         ///< another checkpoint was countersigned meanwhile
  kUnknownLease,  ///< no lease of this contract
  kTooMany,       ///< the contract has kMaxAuditLogs logs already
};
inline constexpr std::int64_t kMaxAuditLogs = 4096;

/// Audit records that no usage record covers, before one that was reported.
struct UsageGap {
  std::string contract_id;
  std::string origin;
  std::int64_t missing_records = 0;
};

struct UsageOutcome {
  std::int64_t counted = 0;
  std::int64_t repeated = 0;
  /// Ids of records that were not counted: the id was reported with other content, or another id covers a part of the
  /// range.
  std::vector<std::string> conflicts;
  std::vector<UsageGap> gaps;
};

struct UsageQuery {
  std::optional<std::string> contract_id, asset_id, dimension;
  UnixMs from = 0;
  UnixMs to = 253402300799000;
  std::int64_t bucket_ms = 0;  ///< api::kHourMs, api::kDayMs, or 0: all in one
};

struct UsageSum {
  std::string tenant, contract_id, asset_id, dimension;
  UnixMs start = 0;  ///< of the bucket
  std::int64_t quantity = 0;
};

}  // namespace tb::store
