#include "http/router.h"

#include <gtest/gtest.h>

namespace tb::http {
namespace {

Route route(std::string method, std::string pattern) {
  return {
      .method = std::move(method), .pattern = std::move(pattern), .handler = [](const Request&) { return Response{}; }};
}

const Router& table() {
  static const Router kRouter({route("GET", "/"), route("GET", "/api/v1/contracts"), route("POST", "/api/v1/contracts"),
                               route("GET", "/api/v1/contracts/{id}"), route("PATCH", "/api/v1/contracts/{id}"),
                               route("POST", "/api/v1/contracts/{id}/suspend"), route("GET", "/api/v1/contracts/new"),
                               route("DELETE", "/x/{a}/y/{b}")});
  return kRouter;
}

TEST(Router, MatchesLiteralsAndParameters) {
  EXPECT_EQ(table().match("GET", "/").route->pattern, "/");
  EXPECT_EQ(table().match("POST", "/api/v1/contracts").route->method, "POST");
  const auto match = table().match("DELETE", "/x/1/y/2.z");
  ASSERT_TRUE(match.route);
  EXPECT_EQ(match.params, (std::vector<std::pair<std::string, std::string>>{{"a", "1"}, {"b", "2.z"}}));
}

TEST(Router, ALiteralIsMoreExactThanAParameter) {
  EXPECT_EQ(table().match("GET", "/api/v1/contracts/new").route->pattern, "/api/v1/contracts/new");
  EXPECT_EQ(table().match("GET", "/api/v1/contracts/old").route->pattern, "/api/v1/contracts/{id}");
}

TEST(Router, HeadIsAsGet) {
  EXPECT_EQ(table().match("HEAD", "/").route->method, "GET");
}

TEST(Router, AnotherMethodIsToldWhatIsAllowed) {
  const auto match = table().match("PUT", "/api/v1/contracts");
  EXPECT_FALSE(match.route);
  EXPECT_EQ(match.allow, "GET, HEAD, POST");
  EXPECT_EQ(table().match("HEAD", "/api/v1/contracts/a/suspend").allow, "POST");
  EXPECT_FALSE(table().match("get", "/").route);
}

TEST(Router, NothingIsFoundElsewhere) {
  for (const char* path : {"", "api", "/api", "/api/v1/contracts/", "/API/v1/contracts", "//", "/x//y/2", "/x/1/y/",
                           "/api/v1/contracts/../contracts", "/api/v1/./contracts", "/api/v1/%63ontracts",
                           "/api/v1\\contracts", "/api/v1/contracts;a=b", "/api/v1/contracts/a\xc3\xa4"}) {
    const auto match = table().match("GET", path);
    EXPECT_FALSE(match.route) << path;
    EXPECT_EQ(match.allow, "") << path;
  }
}

TEST(Router, RefusesBrokenTables) {
  const auto refuses = [](std::vector<Route> routes) {
    try {
      const Router router(std::move(routes));
      return false;
    } catch (const Error& e) {
      return e.reason == "internal";
    }
  };
  EXPECT_TRUE(refuses({route("GET", "/a"), route("GET", "/a")}));
  EXPECT_TRUE(refuses({route("GET", "/{a}"), route("GET", "/{b}")}));
  EXPECT_TRUE(refuses({route("GET", "a")}));
  EXPECT_TRUE(refuses({route("GET", "")}));
  EXPECT_TRUE(refuses({route("GET", "/a//b")}));
  EXPECT_TRUE(refuses({route("GET", "/a%20")}));
  EXPECT_TRUE(refuses({route("HEAD", "/a")}));
  EXPECT_TRUE(refuses({{.method = "GET", .pattern = "/a"}}));
  EXPECT_FALSE(refuses({route("GET", "/a"), route("POST", "/a")}));
}

TEST(Router, PlainPaths) {
  EXPECT_TRUE(is_plain_path("/blobs/t/a-1_2~/model.tbenc"));
  EXPECT_TRUE(is_plain_path("/.well-known/...x"));
  EXPECT_FALSE(is_plain_path("/a/.."));
  EXPECT_FALSE(is_plain_path("/./a"));
  EXPECT_FALSE(is_plain_path("/a b"));
  EXPECT_FALSE(is_plain_path(std::string_view("/a\0b", 4)));
  EXPECT_FALSE(is_plain_path("/" + std::string(5000, 'a')));
}

}  // namespace
}  // namespace tb::http
