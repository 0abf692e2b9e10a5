#include "http/message.h"

#include <gtest/gtest.h>

namespace tb::http {
namespace {

TEST(Headers, NamesCompareWithoutCaseAndKeepTheirOrder) {
  Headers headers{{"Host", "a"}, {"X-A", "1"}, {"x-a", "2"}};
  EXPECT_EQ(headers.get("hOST"), "a");
  EXPECT_EQ(headers.count("X-A"), 2u);
  EXPECT_EQ(*headers.find("x-A"), "1");
  EXPECT_EQ(headers.find("x"), nullptr);
  headers.set("X-a", "3");
  EXPECT_EQ(headers.entries().size(), 2u);
  headers.erase("HOST");
  EXPECT_EQ(headers.get("host"), "");
}

TEST(Query, DecodesAndKeepsRepeats) {
  const auto query = Query::parse("a=1&b=%2F%3d+x&a=2&c&d=");
  ASSERT_TRUE(query);
  EXPECT_EQ(query->one("b"), "/=+x");
  EXPECT_EQ(query->one("c"), "");
  EXPECT_EQ(query->one("e"), std::nullopt);
  EXPECT_EQ(query->count("a"), 2u);
  EXPECT_THROW(query->one("a"), Error);
  EXPECT_TRUE(Query::parse("")->entries().empty());
}

TEST(Query, RefusesWhatIsBroken) {
  for (const std::string& text : {std::string("a=%"), std::string("a=%4"), std::string("a=%zz"), std::string("=1"),
                                  std::string("&"), std::string("a=1&"), std::string("a=1&&b"),
                                  std::string("a=\xc3\xa4"), std::string("a b"), std::string("a\0b", 3)}) {
    const auto query = Query::parse(text);
    ASSERT_FALSE(query) << text;
    EXPECT_EQ(query.error().reason, "bad_query");
  }
  std::string many = "a=1";
  for (int i = 0; i < 64; ++i) many += "&a=1";
  EXPECT_FALSE(Query::parse(many));
}

TEST(Query, OnlyRefusesUnknownAndRepeated) {
  const auto refuses = [](std::string_view text) {
    try {
      Query::parse(text)->only({"limit", "cursor"});
      return false;
    } catch (const Error& e) {
      return e.reason == "bad_query";
    }
  };
  EXPECT_FALSE(refuses("limit=1&cursor=x"));
  EXPECT_TRUE(refuses("limit=1&limit=1"));
  EXPECT_TRUE(refuses("limits=1"));
}

TEST(Request, BearerToken) {
  Request request;
  EXPECT_EQ(request.bearer_token(), "");
  request.headers.add("authorization", "bearer abc");
  EXPECT_EQ(request.bearer_token(), "abc");
  request.headers.add("Authorization", "Bearer def");
  EXPECT_EQ(request.bearer_token(), "");
  request.headers = {{"Authorization", "Basic abc"}};
  EXPECT_EQ(request.bearer_token(), "");
  request.headers = {{"Authorization", "Bea"}};
  EXPECT_EQ(request.bearer_token(), "");
}

TEST(Problem, TellsCodeStatusAndHint) {
  const Response response = problem(Error("bad_time", "not_after is no time"));
  EXPECT_EQ(response.status, 400);
  EXPECT_EQ(response.headers.get("Content-Type"), "application/problem+json");
  const auto body = Json::parse(response.body);
  ASSERT_TRUE(body);
  EXPECT_EQ(body->find("type")->as_string(), "about:blank");
  EXPECT_EQ(body->find("title")->as_string(), "Bad Request");
  EXPECT_EQ(body->find("status")->as_integer(), 400);
  EXPECT_EQ(body->find("code")->as_string(), "bad_time");
  EXPECT_EQ(body->find("detail")->as_string(), "not_after is no time");
  EXPECT_NE(body->find("hint"), nullptr);
}

TEST(Problem, KeepsTheServersOwnStoryToItself) {
  for (const char* reason : {"internal", "io_error", "file_not_found", "permission_denied", "no_such_reason"}) {
    const Response response = problem(Error(reason, "/var/lib/secret-place"));
    EXPECT_EQ(response.body.find("secret-place"), std::string::npos) << reason;
  }
}

}  // namespace
}  // namespace tb::http
