// The bodies of the marketplace's metering API (2018-08-31): what is asked, and what the answers mean. Pure, so that
// recorded bodies and a fuzzer can drive it.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "meter/hour_outbox.h"

namespace tb::azure {

/// Whose usage it is.
struct MarketplaceResource {
  std::string id;  ///< of a subscription (`resourceId`), or an ARM id (`resourceUri`), which begins with a slash
  std::string plan;
  bool operator==(const MarketplaceResource&) const = default;
};

inline constexpr std::size_t kMaxMarketplaceAnswerBytes = std::size_t{1} << 20;

/// Body of batchUsageEvent for 1 to 25 events.
std::string batch_body(const MarketplaceResource& resource, std::span<const meter::HourEvent> events);

/// An answer for each event, in the order of `events`: those that the text does not name, or names in a way that is not
/// understood, are kUnclear. Throws "answer_malformed" if the text is no such answer at all.
std::vector<meter::EventAnswer> parse_batch_answer(std::string_view text, const MarketplaceResource& resource,
                                                   std::span<const meter::HourEvent> events);

/// Of a list of usageEvents, what was submitted for the resource and dimension on the day. Throws "answer_malformed".
meter::EventSum parse_submitted(std::string_view text, const MarketplaceResource& resource, std::string_view dimension,
                                UnixMs day);

}  // namespace tb::azure
