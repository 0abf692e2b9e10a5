#include "api/usage.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <set>

#include "api/asset.h"
#include "base/crypto.h"

namespace tb::api {
namespace {

constexpr std::array<std::string_view, 7> kDimensions = {"requests", "tokens",         "input_tokens", "output_tokens",
                                                         "bytes",    "gb_transferred", "gpu_minutes"};
constexpr std::int64_t kMaxSeq = (std::int64_t{1} << 53) - 1;
constexpr std::size_t kMaxOriginBytes = 512;

[[noreturn]] void invalid(std::string why) {
  throw Error("field_invalid", std::move(why));
}

UnixMs time_of(const JsonReader& reader, std::string_view name) {
  const auto time = from_rfc3339(value_or_throw(reader.string(name)));
  if (!time) invalid(std::string(name) + " of the usage record must be an RFC 3339 time");
  return *time;
}

std::map<std::string, std::int64_t> quantities_of(const Json& json) {
  const Json* usage = json.find("usage");
  if (usage == nullptr) throw Error("field_missing", "the usage record lacks usage");
  if (!usage->is_object() || usage->as_object().empty()) {
    invalid("usage of the usage record must be an object with at least one dimension");
  }
  std::map<std::string, std::int64_t> out;
  const JsonReader reader(*usage, "usage record's usage");
  for (const auto& [name, value] : usage->as_object()) {
    if (!valid_dimension(name)) throw Error("unknown_field", "usage of the usage record has no dimension " + name);
    out[name] = value_or_throw(reader.integer(name, 0, kMaxUsageQuantity));
  }
  return out;
}

}  // namespace

bool valid_dimension(std::string_view name) {
  return std::ranges::find(kDimensions, name) != kDimensions.end();
}

std::string usage_id(std::string_view origin, std::int64_t first_seq, std::int64_t last_seq) {
  std::array<std::uint8_t, 4> length{};
  std::array<std::uint8_t, 16> range{};
  store_be32(length.data(), static_cast<std::uint32_t>(origin.size()));
  store_be64(range.data(), static_cast<std::uint64_t>(first_seq));
  store_be64(range.data() + 8, static_cast<std::uint64_t>(last_seq));
  Sha256 hash;
  hash.update(as_bytes("trustbridge/usage/v1"));
  hash.update(length);
  hash.update(as_bytes(origin));
  hash.update(range);
  return to_hex(hash.finish());
}

Json UsageRecord::to_json() const {
  Json json = Json::object();
  json.set("id", id);
  json.set("origin", origin);
  json.set("first_seq", first_seq);
  json.set("last_seq", last_seq);
  json.set("from", to_rfc3339(from, true));
  json.set("to", to_rfc3339(to, true));
  Json quantities = Json::object();
  for (const auto& [dimension, quantity] : usage) quantities.set(dimension, quantity);
  json.set("usage", std::move(quantities));
  return json;
}

UsageRecord UsageRecord::from_json(const Json& json) {
  if (!json.is_object()) invalid("records of the usage report must be objects");
  const JsonReader reader(json, "usage record");
  value_or_throw(reader.only({"id", "origin", "first_seq", "last_seq", "from", "to", "usage"}));
  UsageRecord out;
  out.id = value_or_throw(reader.string("id"));
  out.origin = value_or_throw(reader.string("origin"));
  if (out.origin.empty() || out.origin.size() > kMaxOriginBytes) {
    invalid("origin of the usage record must have 1 to 512 bytes");
  }
  out.first_seq = value_or_throw(reader.integer("first_seq", 0, kMaxSeq));
  out.last_seq = value_or_throw(reader.integer("last_seq", 0, kMaxSeq));
  if (out.last_seq < out.first_seq) invalid("last_seq of the usage record lies before its first_seq");
  out.from = time_of(reader, "from");
  out.to = time_of(reader, "to");
  if (out.to < out.from) invalid("to of the usage record lies before its from");
  if (out.from / kHourMs != out.to / kHourMs) invalid("from and to of the usage record lie in different hours");
  out.usage = quantities_of(json);
  if (out.id != usage_id(out.origin, out.first_seq, out.last_seq)) {
    invalid("id of the usage record is not that of its origin and range");
  }
  return out;
}

Json UsageReport::to_json() const {
  Json json = Json::object();
  json.set("contract_id", contract_id);
  json.set("lease_id", lease_id);
  Json list = Json::array();
  for (const auto& record : records) list.push(record.to_json());
  json.set("records", std::move(list));
  return json;
}

UsageReport UsageReport::parse(std::string_view text) {
  const Json json = value_or_throw(Json::parse(text, {.bytes = kMaxUsageReportBytes, .depth = 6}));
  if (!json.is_object()) throw Error("json_malformed", "a usage report must be an object");
  const JsonReader reader(json, "usage report");
  value_or_throw(reader.only({"contract_id", "lease_id", "records"}));
  UsageReport out;
  out.contract_id = value_or_throw(reader.string("contract_id"));
  out.lease_id = value_or_throw(reader.string("lease_id"));
  if (!valid_name(out.lease_id)) invalid("lease_id is not one of this service");
  const Json* records = json.find("records");
  if (records == nullptr) throw Error("field_missing", "the usage report lacks records");
  if (!records->is_array() || records->as_array().empty() || records->as_array().size() > kMaxUsageRecords) {
    invalid("records of the usage report must be an array of 1 to 500 records");
  }
  std::set<std::string> ids;
  for (const Json& record : records->as_array()) {
    out.records.push_back(UsageRecord::from_json(record));
    if (!ids.insert(out.records.back().id).second) invalid("records of the usage report hold the same id twice");
  }
  return out;
}

UnixMs Quota::since(UnixMs now) const {
  using namespace std::chrono;
  if (period == Period::kTotal) return 0;
  if (period == Period::kDay) return now / kDayMs * kDayMs;
  const auto day = floor<days>(sys_time<milliseconds>(milliseconds(now)));
  const year_month_day date(day);
  return duration_cast<milliseconds>(sys_days(date.year() / date.month() / 1).time_since_epoch()).count();
}

std::map<std::string, Quota> parse_quotas(const Json& quotas) {
  const auto refuse = [](const std::string& why) { throw Error("contract_invalid", "quotas of the contract " + why); };
  std::map<std::string, Quota> out;
  for (const auto& [dimension, value] : quotas.as_object()) {
    if (!valid_dimension(dimension)) refuse("name no dimension that is metered: " + dimension);
    const Json* limit = value.find("limit");
    const Json* period = value.find("period");
    const bool whole = limit != nullptr && limit->is_integer() && limit->as_integer() >= 0;
    if (!whole || period == nullptr || !period->is_string() || value.as_object().size() != 2) {
      refuse("need limit (a whole number) and period, and nothing else, for " + dimension);
    }
    Quota quota{.limit = limit->as_integer()};
    if (period->as_string() == "day") {
      quota.period = Quota::Period::kDay;
    } else if (period->as_string() == "month") {
      quota.period = Quota::Period::kMonth;
    } else if (period->as_string() != "total") {
      refuse("know day, month and total as period, for " + dimension);
    }
    out[dimension] = quota;
  }
  return out;
}

std::optional<MarketplaceTerms> parse_marketplace(const Json& marketplace) {
  const auto refuse = [](const std::string& why) {
    throw Error("contract_invalid", "marketplace of the contract " + why);
  };
  const auto id_of = [&](const char* name, std::size_t most) {
    const Json* value = marketplace.find(name);
    const auto is_plain = [](char c) { return c > ' ' && c < 0x7f && c != '"' && c != '\\'; };
    if (value == nullptr || !value->is_string() || value->as_string().empty() || value->as_string().size() > most ||
        !std::ranges::all_of(value->as_string(), is_plain)) {
      refuse(std::string("needs ") + name + ", printable characters without spaces");
    }
    return value->as_string();
  };
  if (marketplace.as_object().empty()) return std::nullopt;
  MarketplaceTerms out{.resource_id = id_of("resource_id", 1024), .plan_id = id_of("plan_id", 200), .dimensions = {}};
  const Json* dimensions = marketplace.find("dimensions");
  if (dimensions == nullptr || !dimensions->is_array() || dimensions->as_array().empty()) {
    refuse("needs dimensions, a list of at least one");
  }
  for (const Json& dimension : dimensions->as_array()) {
    if (!dimension.is_string() || !valid_dimension(dimension.as_string())) {
      refuse("names a dimension that is not metered");
    }
    if (std::ranges::find(out.dimensions, dimension.as_string()) != out.dimensions.end()) {
      refuse("names " + dimension.as_string() + " twice");
    }
    out.dimensions.push_back(dimension.as_string());
  }
  if (marketplace.as_object().size() != 3) refuse("has resource_id, plan_id, dimensions and nothing else");
  return out;
}

}  // namespace tb::api
