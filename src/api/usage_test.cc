// spec: wire 1.2, 1.3 (quotas), 2.6
#include "api/usage.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace tb::api {
namespace {

constexpr UnixMs kNow = 1800000000000;  // 2027-01-15T08:00:00Z

UsageReport report() {
  UsageReport out{.contract_id = "c", .lease_id = "l", .records = {}};
  UsageRecord record{.id = usage_id("o", 0, 9),
                     .origin = "o",
                     .first_seq = 0,
                     .last_seq = 9,
                     .from = kNow,
                     .to = kNow + 1500,
                     .usage = {{"requests", 10}, {"tokens", 1234}}};
  out.records.push_back(record);
  return out;
}

std::string refusal(const std::string& text) {
  try {
    UsageReport::parse(text);
  } catch (const Error& error) {
    return error.reason + ": " + error.message;
  }
  return "nothing";
}

std::string replaced(std::string_view from, std::string_view to) {
  std::string text = report().to_json().dump();
  const auto at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return text.replace(at, from.size(), to);
}

TEST(Usage, ReportsComeBackAsTheyWere) {
  const std::string text = report().to_json().dump();
  EXPECT_EQ(UsageReport::parse(text).to_json().dump(), text);
  EXPECT_EQ(UsageReport::parse(text).records[0].hour(), kNow);
}

// Computed by hand with another tool: sha256 of the bytes that the comment of usage_id names.
TEST(Usage, IdsAreThoseOfTheSpec) {
  EXPECT_EQ(usage_id("o", 0, 9), "83b79e3a2ba8d67e0ce432a47fb36af5b7fde50e2c720a9afac9518145acd194");
}

TEST(Usage, BadReportsAreRefusedByName) {
  using testing::HasSubstr;
  const std::string record = report().records[0].to_json().dump();
  EXPECT_THAT(refusal("[]"), HasSubstr("json_malformed"));
  EXPECT_THAT(refusal(replaced("\"contract_id\"", "\"contract\"")), HasSubstr("unknown_field"));
  EXPECT_THAT(refusal(replaced("\"lease_id\":\"l\"", "\"lease_id\":\"../l\"")), HasSubstr("lease_id"));
  EXPECT_THAT(refusal(replaced("\"origin\":\"o\"", "\"origin\":\"p\"")), HasSubstr("id of the usage record"));
  EXPECT_THAT(refusal(replaced("\"origin\":\"o\"", "\"origin\":\"\"")), HasSubstr("origin"));
  EXPECT_THAT(refusal(replaced("\"first_seq\":0", "\"first_seq\":1")), HasSubstr("id of the usage record"));
  EXPECT_THAT(refusal(replaced("\"first_seq\":0", "\"first_seq\":10")), HasSubstr("last_seq"));
  EXPECT_THAT(refusal(replaced("\"first_seq\":0", "\"first_seq\":-1")), HasSubstr("first_seq"));
  EXPECT_THAT(refusal(replaced("\"last_seq\":9", "\"last_seq\":9.5")), HasSubstr("last_seq"));
  EXPECT_THAT(refusal(replaced("\"requests\"", "\"calls\"")), HasSubstr("unknown_field"));
  EXPECT_THAT(refusal(replaced("\"requests\":10", "\"requests\":-1")), HasSubstr("requests"));
  EXPECT_THAT(refusal(replaced("\"requests\":10", "\"requests\":1000000000001")), HasSubstr("requests"));
  EXPECT_THAT(refusal(replaced("\"requests\":10", "\"requests\":\"10\"")), HasSubstr("requests"));
  EXPECT_THAT(refusal(replaced("{\"requests\":10,\"tokens\":1234}", "{}")), HasSubstr("dimension"));
  EXPECT_THAT(refusal(replaced("{\"requests\":10,\"tokens\":1234}", "[]")), HasSubstr("usage"));
  EXPECT_THAT(refusal(replaced("08:00:00.000Z", "07:59:59.999Z")), HasSubstr("different hours"));
  EXPECT_THAT(refusal(replaced("08:00:00.000Z", "08:00:02.000Z")), HasSubstr("before its from"));
  EXPECT_THAT(refusal(replaced("2027-01-15T08:00:00.000Z", "yesterday")), HasSubstr("from"));
  EXPECT_THAT(refusal(replaced(record, "7")), HasSubstr("objects"));
  EXPECT_THAT(refusal(replaced("[" + record + "]", "[]")), HasSubstr("1 to 500"));
  EXPECT_THAT(refusal(replaced("[" + record + "]", "{}")), HasSubstr("records"));
  EXPECT_THAT(refusal(replaced(record, record + "," + record)), HasSubstr("twice"));
  UsageReport many = report();
  for (std::int64_t i = 1; i <= 500; ++i) {
    UsageRecord more = many.records[0];
    more.first_seq = more.last_seq = 9 + i;
    more.id = usage_id("o", more.first_seq, more.last_seq);
    many.records.push_back(more);
  }
  EXPECT_THAT(refusal(many.to_json().dump()), HasSubstr("1 to 500"));
  many.records.pop_back();
  EXPECT_EQ(refusal(many.to_json().dump()), "nothing");
}

TEST(Quotas, AreStrict) {
  const auto parsed = [](std::string_view text) { return parse_quotas(value_or_throw(Json::parse(text))); };
  const auto quotas = parsed(R"({"tokens":{"limit":5,"period":"day"},"requests":{"limit":0,"period":"total"}})");
  EXPECT_EQ(quotas.at("tokens").limit, 5);
  EXPECT_EQ(quotas.at("tokens").period, Quota::Period::kDay);
  EXPECT_EQ(quotas.at("requests").period, Quota::Period::kTotal);
  EXPECT_TRUE(parsed("{}").empty());
  for (const auto* text :
       {R"({"tokens":5})", R"({"tokens":{}})", R"({"tokens":{"limit":5}})", R"({"tokens":{"period":"day"}})",
        R"({"tokens":{"limit":-1,"period":"day"}})", R"({"tokens":{"limit":1.5,"period":"day"}})",
        R"({"tokens":{"limit":"5","period":"day"}})", R"({"tokens":{"limit":5,"period":"hour"}})",
        R"({"tokens":{"limit":5,"period":"day","more":1}})", R"({"words":{"limit":5,"period":"day"}})"}) {
    EXPECT_THROW(parsed(text), Error) << text;
  }
}

TEST(Marketplace, IsStrict) {
  const auto parsed = [](std::string_view text) { return parse_marketplace(value_or_throw(Json::parse(text))); };
  EXPECT_FALSE(parsed("{}"));
  const auto terms =
      parsed(R"({"resource_id":"/subscriptions/x","plan_id":"gold","dimensions":["tokens","requests"]})");
  ASSERT_TRUE(terms);
  EXPECT_EQ(terms->resource_id, "/subscriptions/x");
  EXPECT_EQ(terms->plan_id, "gold");
  EXPECT_EQ(terms->dimensions, (std::vector<std::string>{"tokens", "requests"}));
  for (const auto* text :
       {R"({"resource_id":"r"})", R"({"resource_id":"r","plan_id":"p"})",
        R"({"resource_id":"r","plan_id":"p","dimensions":[]})",
        R"({"resource_id":"r","plan_id":"p","dimensions":["x"]})",
        R"({"resource_id":"r","plan_id":"p","dimensions":["tokens","tokens"]})",
        R"({"resource_id":"r","plan_id":"p","dimensions":"tokens"})",
        R"({"resource_id":"","plan_id":"p","dimensions":["tokens"]})",
        R"({"resource_id":"a b","plan_id":"p","dimensions":["tokens"]})",
        R"({"resource_id":5,"plan_id":"p","dimensions":["tokens"]})", R"({"plan_id":"p","dimensions":["tokens"]})",
        R"({"resource_id":"r","plan_id":"p","dimensions":["tokens"],"more":1})"}) {
    EXPECT_THROW(parsed(text), Error) << text;
  }
}

TEST(Quotas, PeriodsBeginInUtc) {
  const auto since = [](Quota::Period period, std::string_view now) {
    return to_rfc3339(Quota{.limit = 1, .period = period}.since(value_or_throw(from_rfc3339(now))));
  };
  EXPECT_EQ(since(Quota::Period::kDay, "2027-01-15T23:59:59Z"), "2027-01-15T00:00:00Z");
  EXPECT_EQ(since(Quota::Period::kMonth, "2028-02-29T23:59:59Z"), "2028-02-01T00:00:00Z");
  EXPECT_EQ(since(Quota::Period::kMonth, "2027-01-01T00:00:00Z"), "2027-01-01T00:00:00Z");
  EXPECT_EQ(since(Quota::Period::kTotal, "2027-01-15T23:59:59Z"), "1970-01-01T00:00:00Z");
}

}  // namespace
}  // namespace tb::api
