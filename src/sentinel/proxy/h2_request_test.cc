#include "sentinel/proxy/h2_request.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "sentinel/proxy/head.h"

namespace tb::sentinel::proxy {
namespace {

using Taken = H2Request::Taken;
using Pairs = std::vector<std::pair<std::string, std::string>>;

H2Request request(const Pairs& more, const Pairs& first = {{":method", "POST"},
                                                           {":scheme", "https"},
                                                           {":path", "/v1/completions"},
                                                           {":authority", "model.example:8000"}}) {
  H2Request out;
  for (const Pairs& pairs : {first, more}) {
    for (const auto& [name, value] : pairs) EXPECT_EQ(out.take(name, value), Taken::kYes) << name;
  }
  return out;
}

TEST(H2RequestTest, SaysWhatCame) {
  const H2Request head = request({{"accept", "a b"}, {"cookie", "a=1"}, {"te", "trailers"}, {"cookie", "b=2"}});
  const auto parsed = parse_request_head(head.text(false));
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->method, "POST");
  EXPECT_EQ(parsed->target, "/v1/completions");
  EXPECT_EQ(find_field(parsed->fields, "host")->value, "model.example:8000");
  EXPECT_EQ(find_field(parsed->fields, "accept")->value, "a b");
  EXPECT_EQ(find_field(parsed->fields, "cookie")->value, "a=1; b=2");
  EXPECT_EQ(find_field(parsed->fields, "te"), nullptr);
  EXPECT_EQ(parsed->framing, Framing::kChunked);
  EXPECT_TRUE(parsed->keep_alive);
}

TEST(H2RequestTest, Framing) {
  const auto framing = [](const H2Request& head, bool ends) { return parse_request_head(head.text(ends))->framing; };
  EXPECT_EQ(framing(request({{"content-length", "3"}}), false), Framing::kLength);
  EXPECT_TRUE(request({{"content-length", "3"}}).has_length());
  EXPECT_EQ(parse_request_head(request({}).text(true))->framing, Framing::kLength);
  EXPECT_EQ(parse_request_head(request({}).text(true))->length, 0U);
  const Pairs get{{":method", "GET"}, {":scheme", "https"}, {":path", "/v1/models"}, {"host", "a"}};
  EXPECT_EQ(framing(request({}, get), true), Framing::kNone);
  EXPECT_FALSE(parse_request_head(request({{"content-length", "1"}, {"content-length", "2"}}).text(false)));
}

TEST(H2RequestTest, OneHost) {
  EXPECT_TRUE(parse_request_head(request({{"host", "MODEL.example:8000"}}).text(true)));
  for (const char* other : {"other", "", "model.example"}) {
    EXPECT_FALSE(parse_request_head(request({{"host", other}}).text(true))) << other;
  }
  H2Request none = request({}, {{":method", "GET"}, {":path", "/"}});
  EXPECT_FALSE(parse_request_head(none.text(true)));
  EXPECT_EQ(none.take("host", "a"), Taken::kYes);
  EXPECT_EQ(none.take("host", "a"), Taken::kMalformed);
  EXPECT_FALSE(parse_request_head(request({}, {{":method", "GET"}, {":path", "/"}, {":authority", "u@a"}}).text(true)));
}

TEST(H2RequestTest, WhatWouldBeSomethingElseInText) {
  for (const auto& [name, value] : Pairs{{"a", "b\r\nx: y"},
                                         {"a", "b\nx: y"},
                                         {"a", std::string("b\0", 2)},
                                         {"a\r\nb", "c"},
                                         {"a:", "b"},
                                         {"a b", "c"},
                                         {"A", "b"},
                                         {"", "b"},
                                         {"transfer-encoding", "chunked"},
                                         {"connection", "close"},
                                         {"keep-alive", "1"},
                                         {"upgrade", "websocket"},
                                         {"proxy-connection", "close"},
                                         {"te", "gzip"},
                                         {":path", "/v1/models HTTP/1.1\r\nx: y"},
                                         {":path", "/v1/models HTTP/1.0"},
                                         {":path", "/second"},
                                         {":method", "GET /x"},
                                         {":protocol", "websocket"},
                                         {":status", "200"}}) {
    H2Request head = request({}, {{":path", "/first"}});
    EXPECT_EQ(head.take(name, value), Taken::kMalformed) << name << " " << value;
  }
}

TEST(H2RequestTest, TooLarge) {
  H2Request head = request({});
  const std::string value(1000, 'v');
  int taken = 0;
  for (; head.take("x-" + std::to_string(taken), value) == Taken::kYes; ++taken) {
    if (taken == 70) {
      EXPECT_EQ(find_head_end(head.text(true)).kind, HeadEnd::kTooLarge);
    }
  }
  EXPECT_GT(taken, 70);
  EXPECT_LT(taken, 140);
  EXPECT_LT(head.text(true).size(), 3 * kMaxHeadBytes);
}

}  // namespace
}  // namespace tb::sentinel::proxy
