// The metering API, by bodies of its published shape, and the client against a server of ours.
#include "azure/marketplace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "api/usage.h"
#include "azure/token_server_test.h"

namespace tb::azure {
namespace {

using Kind = meter::EventAnswer::Kind;
using testing::HasSubstr;

constexpr UnixMs kHour = 1'795'651'200'000;  // 2026-11-26T00:00:00Z
const MarketplaceResource kResource{.id = "aaaabbbb-0000-1111-2222-ccccdddd0000", .plan = "silver"};
const std::vector<meter::HourEvent> kOne = {{.dimension = "tokens", .hour = kHour, .quantity = 17}};

std::string result(const std::string& status, const std::string& more = "", const std::string& quantity = "17.0") {
  return R"({"usageEventId":"u","status":")" + status +
         R"(","messageTime":"2026-11-26T01:02:03.4Z","resourceId":"AAAABBBB-0000-1111-2222-CCCCDDDD0000","quantity":)" +
         quantity + R"(,"dimension":"tokens","effectiveStartTime":"2026-11-26T00:00:00","planId":"silver")" + more +
         "}";
}
std::string answer_with(const std::string& results) {
  return R"({"count":1,"result":[)" + results + "]}";
}
std::string held(const std::string& quantity, const std::string& dimension = "tokens",
                 const std::string& start = "2026-11-26T00:00:00Z", const std::string& plan = "silver",
                 const std::string& id = "aaaabbbb-0000-1111-2222-ccccdddd0000") {
  return R"(,"error":{"additionalInfo":{"acceptedMessage":{"usageEventId":"u","status":"Duplicate","quantity":)" +
         quantity + R"(,"dimension":")" + dimension + R"(","effectiveStartTime":")" + start + R"(","planId":")" + plan +
         R"(","resourceId":")" + id + R"("}},"message":"This usage event already exist.","code":"Conflict"})";
}
meter::EventAnswer one(const std::string& body) {
  return parse_batch_answer(body, kResource, kOne).at(0);
}

TEST(MarketplaceWire, WritesABatch) {
  EXPECT_EQ(
      batch_body(kResource, kOne),
      R"({"request":[{"resourceId":"aaaabbbb-0000-1111-2222-ccccdddd0000","quantity":17,"dimension":"tokens","effectiveStartTime":"2026-11-26T00:00:00Z","planId":"silver"}]})");
  EXPECT_THAT(batch_body({.id = "/subscriptions/x", .plan = "p"}, kOne),
              HasSubstr(R"("resourceUri":"/subscriptions/x")"));
}

TEST(MarketplaceWire, ReadsEveryStatus) {
  EXPECT_EQ(one(answer_with(result("Accepted"))).kind, Kind::kAccepted);
  EXPECT_EQ(one(answer_with(result("Expired"))).kind, Kind::kExpired);
  EXPECT_EQ(one(answer_with(result("ResourceNotActive"))).kind, Kind::kInactive);
  EXPECT_EQ(one(answer_with(result("Error"))).kind, Kind::kUnclear);
  for (const auto* status :
       {"ResourceNotFound", "ResourceNotAuthorized", "InvalidDimension", "InvalidQuantity", "BadArgument"}) {
    EXPECT_EQ(one(answer_with(result(status))).kind, Kind::kRefused) << status;
  }
  EXPECT_EQ(one(answer_with(result("Whatever"))).kind, Kind::kUnclear);
  EXPECT_EQ(one(answer_with(result("accepted"))).kind, Kind::kUnclear);
}

TEST(MarketplaceWire, TakesNoOtherQuantityForAccepted) {
  EXPECT_EQ(one(answer_with(result("Accepted", "", "16.0"))).kind, Kind::kUnclear);
}

TEST(MarketplaceWire, ComparesADuplicateWithWhatWasMeant) {
  const auto same = [](const std::string& more) {
    const auto answer = one(answer_with(result("Duplicate", more)));
    EXPECT_EQ(answer.kind, Kind::kDuplicate);
    return answer.same;
  };
  EXPECT_TRUE(same(held("17.0")));
  EXPECT_TRUE(same(held("17")));
  EXPECT_FALSE(same(held("16.0")));
  EXPECT_FALSE(same(held("17.5")));
  EXPECT_FALSE(same(held("-17")));
  EXPECT_FALSE(same(held("\"17\"")));
  EXPECT_FALSE(same(held("1e300")));
  EXPECT_FALSE(same(held("17.0", "requests")));
  EXPECT_FALSE(same(held("17.0", "tokens", "2026-11-26T01:00:00Z")));
  EXPECT_FALSE(same(held("17.0", "tokens", "2026-11-26T00:00:00Z", "gold")));
  EXPECT_FALSE(same(held("17.0", "tokens", "2026-11-26T00:00:00Z", "silver", "other")));
  EXPECT_FALSE(same(""));
  EXPECT_FALSE(same(R"(,"error":"x")"));
}

TEST(MarketplaceWire, FindsAnswersByWhatTheyNameAndNotByTheirPlace) {
  const std::vector<meter::HourEvent> two = {{.dimension = "requests", .hour = kHour, .quantity = 1}, kOne[0]};
  const auto answers = parse_batch_answer(answer_with(result("Accepted")), kResource, two);
  EXPECT_EQ(answers.at(0).kind, Kind::kUnclear);
  EXPECT_EQ(answers.at(1).kind, Kind::kAccepted);
  EXPECT_EQ(one(answer_with(result("Accepted") + "," + result("Expired"))).kind, Kind::kUnclear);
}

TEST(MarketplaceWire, RefusesWhatIsNoAnswer) {
  for (const auto* text : {"", "{}", "[]", R"({"result":{}})", "<html>", R"({"result":[)"}) {
    EXPECT_THROW(one(text), Error) << text;
  }
  EXPECT_EQ(one(R"({"result":[]})").kind, Kind::kUnclear);
  EXPECT_EQ(one(R"({"result":[7,{"status":1}]})").kind, Kind::kUnclear);
}

TEST(MarketplaceWire, SumsTheBooksOfADay) {
  const auto row = [](const std::string& dimension, const std::string& date, const std::string& quantity) {
    return R"({"usageDate":")" + date + R"(","usageResourceId":"AAAABBBB-0000-1111-2222-ccccdddd0000","dimension":")" +
           dimension + R"(","planId":"silver","reconStatus":"Accepted","submittedQuantity":)" + quantity +
           R"(,"processedQuantity":0.0,"submittedCount":2})";
  };
  const std::string books =
      "[" + row("tokens", "2026-11-26T00:00:00Z", "17.0") + "," + row("tokens", "2026-11-26T05:00:00Z", "3.0") + "," +
      row("requests", "2026-11-26T00:00:00Z", "9.0") + "," + row("tokens", "2026-11-27T00:00:00Z", "5.0") + "]";
  const auto sum = parse_submitted(books, kResource, "tokens", kHour);
  EXPECT_EQ(sum.quantity, 20);
  EXPECT_EQ(sum.count, 4);
  EXPECT_THROW(parse_submitted("[" + row("tokens", "2026-11-26T00:00:00Z", "1.5") + "]", kResource, "tokens", kHour),
               Error);
  EXPECT_THROW(parse_submitted("{}", kResource, "tokens", kHour), Error);
  EXPECT_EQ(parse_submitted("[]", kResource, "tokens", kHour).count, 0);
}

class MarketplaceTest : public testing::Test {
 protected:
  TokenServer tokens_, server_;
  Marketplace marketplace_{server_.origin(), kResource,
                           value_or_throw(parse_credential("managed-identity",
                                                           [this](const std::string& name) {
                                                             return name == "AZURE_POD_IDENTITY_AUTHORITY_HOST"
                                                                        ? std::optional(tokens_.origin())
                                                                        : std::nullopt;
                                                           })),
                           ""};
};

TEST_F(MarketplaceTest, SendsABatchWithATokenForMetering) {
  server_.answer(200, answer_with(result("Accepted")));
  const auto answers = marketplace_.send(kOne);
  ASSERT_TRUE(answers);
  EXPECT_EQ(answers->at(0).kind, Kind::kAccepted);
  EXPECT_EQ(server_.last_path(), "/api/batchUsageEvent?api-version=2018-08-31");
  EXPECT_EQ(server_.last_body(), batch_body(kResource, kOne));
  EXPECT_EQ(server_.last_header("authorization"), "Bearer token-1");
  EXPECT_EQ(server_.last_header("x-ms-requestid").size(), 36U);
  EXPECT_THAT(tokens_.last_path(), HasSubstr("resource=20e940b3-4c77-4b0b-9a53-9e16a1b010a7"));
  ASSERT_TRUE(marketplace_.clock_offset_ms());
  EXPECT_TRUE(marketplace_.send(kOne));
  EXPECT_EQ(tokens_.requests(), 1);
}

TEST_F(MarketplaceTest, KnowsWhichRefusalsAreCertain) {
  for (const auto& [status, certain] : std::vector<std::pair<int, bool>>{{400, true},
                                                                         {401, true},
                                                                         {403, true},
                                                                         {404, true},
                                                                         {429, true},
                                                                         {408, false},
                                                                         {409, false},
                                                                         {500, false},
                                                                         {503, false},
                                                                         {200, false}}) {
    server_.answer(status, "nothing");
    const auto answers = marketplace_.send(kOne);
    ASSERT_FALSE(answers) << status;
    EXPECT_EQ(answers.error().certainly_not_taken, certain) << status;
    EXPECT_EQ(answers.error().error.story().find("token-1"), std::string::npos);
  }
}

TEST_F(MarketplaceTest, AsksForANewTokenAfterOneWasRefused) {
  server_.answer(401, "");
  EXPECT_FALSE(marketplace_.send(kOne));
  server_.answer(200, answer_with(result("Accepted")));
  EXPECT_TRUE(marketplace_.send(kOne));
  EXPECT_EQ(tokens_.requests(), 2);
}

TEST_F(MarketplaceTest, SendsNothingWithoutAToken) {
  tokens_.answer(500, "");
  const auto answers = marketplace_.send(kOne);
  ASSERT_FALSE(answers);
  EXPECT_TRUE(answers.error().certainly_not_taken);
  EXPECT_EQ(answers.error().error.reason, "marketplace_unavailable");
  EXPECT_EQ(server_.requests(), 0);
}

TEST_F(MarketplaceTest, ReadsTheBooks) {
  server_.answer(200, "[]");
  EXPECT_EQ(marketplace_.submitted("tokens", kHour).count, 0);
  EXPECT_EQ(server_.last_path(),
            "/api/"
            "usageEvents?api-version=2018-08-31&usageStartDate=2026-11-26T00%3A00%3A00Z&UsageEndDate=2026-11-27T00%"
            "3A00%3A00Z&dimension=tokens");
  server_.answer(503, "");
  EXPECT_THROW(marketplace_.submitted("tokens", kHour), Error);
}

}  // namespace
}  // namespace tb::azure
