// What a limited key is answered, and that every end gives its place back.
#include "sentinel/proxy/limits_filter.h"

#include <gtest/gtest.h>

namespace tb::sentinel::proxy {
namespace {

Exchange asked_by(const char* subject, const KeyLimits& limits) {
  Exchange exchange;
  exchange.subject = subject;
  exchange.limits = limits;
  return exchange;
}

std::string field_of(const Exchange& exchange, std::string_view name) {
  const Field* field = find_field(exchange.answer_fields, name);
  return field == nullptr ? "" : field->value;
}

TEST(LimitsFilter, TellsWhatIsLeftAndRefusesWhatIsTooMuch) {
  obs::Metrics metrics;
  const auto filter = limits_filter(metrics);
  Exchange first = asked_by("a", {.requests_per_minute = 1});
  const auto visit = filter->visit(first);
  EXPECT_FALSE(visit->on_request(first));
  EXPECT_EQ(field_of(first, "x-ratelimit-limit-requests"), "1");
  EXPECT_EQ(field_of(first, "x-ratelimit-remaining-requests"), "0");
  EXPECT_EQ(field_of(first, "x-ratelimit-reset-requests"), "1m0s");
  visit->on_end(first);

  Exchange second = asked_by("a", {.requests_per_minute = 1});
  const auto next = filter->visit(second);
  const auto refusal = next->on_request(second);
  ASSERT_TRUE(refusal);
  EXPECT_EQ(refusal->status, 429);
  EXPECT_EQ(refusal->code, "rate_limit_exceeded");
  EXPECT_GT(refusal->retry_after_seconds, 50);
  EXPECT_LE(refusal->retry_after_seconds, 60);
  EXPECT_EQ(field_of(second, "x-ratelimit-remaining-requests"), "0");
  next->on_end(second);
  EXPECT_NE(metrics.prometheus_text().find(R"(rate_limited_total{limit="requests_per_minute"} 1)"), std::string::npos);
}

TEST(LimitsFilter, APlaceIsGivenBackAtTheEndAndARefusedOneHasNone) {
  obs::Metrics metrics;
  const auto filter = limits_filter(metrics);
  const KeyLimits one{.concurrent_requests = 1};
  Exchange first = asked_by("a", one);
  const auto held = filter->visit(first);
  EXPECT_FALSE(held->on_request(first));
  EXPECT_TRUE(first.answer_fields.empty()) << "no allowance by the minute, none told";
  for (int i = 0; i < 3; ++i) {
    Exchange other = asked_by("a", one);
    const auto visit = filter->visit(other);
    const auto refusal = visit->on_request(other);
    ASSERT_TRUE(refusal);
    EXPECT_EQ(refusal->status, 429);
    EXPECT_EQ(refusal->retry_after_seconds, 1);
    visit->on_end(other);  // must not free the place of the first
  }
  held->on_end(first);
  Exchange last = asked_by("a", one);
  EXPECT_FALSE(filter->visit(last)->on_request(last));
}

TEST(LimitsFilter, WhoHasNoLimitsIsLeftAlone) {
  obs::Metrics metrics;
  const auto filter = limits_filter(metrics);
  for (int i = 0; i < 100; ++i) {
    Exchange exchange = asked_by("a", {});
    EXPECT_FALSE(filter->visit(exchange)->on_request(exchange));
    EXPECT_TRUE(exchange.answer_fields.empty());
  }
}

}  // namespace
}  // namespace tb::sentinel::proxy
