#include "azure/marketplace_wire.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "api/usage.h"
#include "base/json.h"
#include "base/result.h"

namespace tb::azure {
namespace {

using Kind = meter::EventAnswer::Kind;

constexpr JsonLimits kLimits{.bytes = kMaxMarketplaceAnswerBytes, .depth = 12, .values = 100'000};
constexpr double kMaxQuantity = 1e15;

const Json* member(const Json& json, std::initializer_list<std::string_view> path) {
  const Json* at = &json;
  for (const auto name : path) {
    at = at->find(name);
    if (at == nullptr) return nullptr;
  }
  return at;
}

std::string text_of(const Json& json, std::string_view name) {
  const Json* value = json.find(name);
  return value != nullptr && value->is_string() ? value->as_string() : std::string();
}

char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}
/// Ids come back in another case than they were sent.
bool same_id(std::string_view a, std::string_view b) {
  return std::ranges::equal(a, b, {}, lower, lower);
}

/// The service writes times of UTC with a Z, or without.
std::optional<UnixMs> time_of(const Json& json, std::string_view name) {
  std::string text = text_of(json, name);
  if (text.size() >= 19 && text.find_first_of("Z+", 19) == std::string::npos) text += 'Z';
  const auto time = from_rfc3339(text);
  return time ? std::optional(*time) : std::nullopt;
}

/// A whole quantity, which the service writes as a double.
std::optional<std::int64_t> quantity_of(const Json& json, std::string_view name) {
  const Json* value = json.find(name);
  if (value == nullptr || !value->is_number()) return std::nullopt;
  const double number = value->as_double();
  if (!(number >= 0 && number <= kMaxQuantity) || number != std::floor(number)) return std::nullopt;
  return static_cast<std::int64_t>(number);
}

std::string_view id_name(const MarketplaceResource& resource) {
  return resource.id.starts_with('/') ? "resourceUri" : "resourceId";
}

/// What the hour holds instead, as the answer tells it.
bool is_same(const Json& result, const MarketplaceResource& resource, const meter::HourEvent& event) {
  const Json* held = member(result, {"error", "additionalInfo", "acceptedMessage"});
  if (held == nullptr) held = member(result, {"additionalInfo", "acceptedMessage"});
  if (held == nullptr) return false;
  return quantity_of(*held, "quantity") == event.quantity && text_of(*held, "dimension") == event.dimension &&
         time_of(*held, "effectiveStartTime") == event.hour && same_id(text_of(*held, "planId"), resource.plan) &&
         same_id(text_of(*held, id_name(resource)), resource.id);
}

meter::EventAnswer answer_of(const Json& result, const MarketplaceResource& resource, const meter::HourEvent& event) {
  const std::string status = text_of(result, "status");
  if (status == "Accepted") {
    const bool ours = quantity_of(result, "quantity") == event.quantity;
    return {.kind = ours ? Kind::kAccepted : Kind::kUnclear, .same = ours, .detail = status};
  }
  if (status == "Duplicate")
    return {.kind = Kind::kDuplicate, .same = is_same(result, resource, event), .detail = status};
  if (status == "Expired") return {.kind = Kind::kExpired, .same = false, .detail = status};
  if (status == "ResourceNotActive") return {.kind = Kind::kInactive, .same = false, .detail = status};
  for (const auto* refused :
       {"ResourceNotFound", "ResourceNotAuthorized", "InvalidDimension", "InvalidQuantity", "BadArgument"}) {
    if (status == refused) return {.kind = Kind::kRefused, .same = false, .detail = status};
  }
  return {.kind = Kind::kUnclear, .same = false, .detail = "a status that is not known"};
}

}  // namespace

std::string batch_body(const MarketplaceResource& resource, std::span<const meter::HourEvent> events) {
  Json list = Json::array();
  for (const auto& event : events) {
    Json item = Json::object();
    item.set(id_name(resource), resource.id);
    item.set("quantity", event.quantity);
    item.set("dimension", event.dimension);
    item.set("effectiveStartTime", to_rfc3339(event.hour));
    item.set("planId", resource.plan);
    list.push(std::move(item));
  }
  Json body = Json::object();
  body.set("request", std::move(list));
  return body.dump();
}

std::vector<meter::EventAnswer> parse_batch_answer(std::string_view text, const MarketplaceResource& resource,
                                                   std::span<const meter::HourEvent> events) {
  const auto json = Json::parse(text, kLimits);
  const Json* results = json ? json->find("result") : nullptr;
  if (results == nullptr || !results->is_array()) {
    throw Error("answer_malformed", "the marketplace's answer has no list of results");
  }
  std::vector<meter::EventAnswer> out(events.size(), {.kind = Kind::kUnclear, .same = false, .detail = "not answered"});
  std::vector<int> named(events.size(), 0);
  for (const Json& result : results->as_array()) {
    const std::string dimension = text_of(result, "dimension");
    const auto hour = time_of(result, "effectiveStartTime");
    for (std::size_t i = 0; i < events.size(); ++i) {
      if (events[i].dimension != dimension || events[i].hour != hour) continue;
      out[i] = answer_of(result, resource, events[i]);
      if (++named[i] > 1) out[i] = {.kind = Kind::kUnclear, .same = false, .detail = "answered twice"};
    }
  }
  return out;
}

meter::EventSum parse_submitted(std::string_view text, const MarketplaceResource& resource, std::string_view dimension,
                                UnixMs day) {
  const auto json = Json::parse(text, kLimits);
  if (!json || !json->is_array()) throw Error("answer_malformed", "the marketplace's books are no list");
  meter::EventSum out;
  for (const Json& row : json->as_array()) {
    const auto date = time_of(row, "usageDate");
    const bool ours = same_id(text_of(row, "usageResourceId"), resource.id) && text_of(row, "dimension") == dimension &&
                      same_id(text_of(row, "planId"), resource.plan);
    if (!ours || !date || *date / api::kDayMs * api::kDayMs != day) continue;
    const auto quantity = quantity_of(row, "submittedQuantity"), count = quantity_of(row, "submittedCount");
    if (!quantity || !count) throw Error("answer_malformed", "a row of the marketplace's books lacks its sum");
    out.quantity += *quantity;
    out.count += *count;
  }
  return out;
}

}  // namespace tb::azure
