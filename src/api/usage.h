// The wire values of metering (docs/spec/wire.md 1.2, 2.6): what a sentinel reports of one range of its audit log, and
// the quotas that a contract sets on it.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/json.h"

namespace tb::api {

inline constexpr std::size_t kMaxUsageReportBytes = 262144;
inline constexpr std::size_t kMaxUsageRecords = 500;              ///< in one report
inline constexpr std::int64_t kMaxUsageQuantity = 1000000000000;  ///< of one dimension in one record
inline constexpr UnixMs kHourMs = 3600000;
inline constexpr UnixMs kDayMs = 24 * kHourMs;

/// `requests tokens input_tokens output_tokens bytes gb_transferred gpu_minutes`: always whole numbers. What is left of
/// a unit is carried into a later record.
bool valid_dimension(std::string_view name);

/// Hex SHA-256 of "trustbridge/usage/v1", the origin with its u32 length before it, and both numbers as u64.
std::string usage_id(std::string_view origin, std::int64_t first_seq, std::int64_t last_seq);

struct UsageRecord {
  std::string id;
  std::string origin;  ///< of the audit log
  std::int64_t first_seq = 0;
  std::int64_t last_seq = 0;  ///< inclusive
  UnixMs from = 0;            ///< of the first audit record in the range
  UnixMs to = 0;              ///< of the last, in the same hour of UTC
  std::map<std::string, std::int64_t> usage;

  UnixMs hour() const { return to / kHourMs * kHourMs; }
  Json to_json() const;
  /// Throws an error that names the field: another id than usage_id, a range or hour that cannot be, no or unknown
  /// dimensions.
  static UsageRecord from_json(const Json& json);
};

/// Body of POST /api/v1/usage.
struct UsageReport {
  std::string contract_id;
  std::string lease_id;
  std::vector<UsageRecord> records;

  Json to_json() const;
  /// Unknown fields are refused by name, and an id that stands there twice.
  static UsageReport parse(std::string_view text);
};

/// How much of one dimension a contract grants in one period of UTC.
struct Quota {
  enum class Period { kDay, kMonth, kTotal };
  std::int64_t limit = 0;
  Period period = Period::kTotal;

  /// Start of the period that `now` lies in.
  UnixMs since(UnixMs now) const;
};

/// `{"tokens": {"limit": 1000000, "period": "day"}}`, by dimension. Throws "contract_invalid" naming what cannot stand.
std::map<std::string, Quota> parse_quotas(const Json& quotas);

/// Where the control plane reports the usage of all sentinels of a contract to.
struct MarketplaceTerms {
  std::string resource_id;  ///< whose usage it is, in the marketplace's words
  std::string plan_id;
  std::vector<std::string> dimensions;
};

/// `{"resource_id": …, "plan_id": …, "dimensions": ["tokens"]}`; nothing of an empty object. Throws "contract_invalid"
/// naming what cannot stand.
std::optional<MarketplaceTerms> parse_marketplace(const Json& marketplace);

}  // namespace tb::api
