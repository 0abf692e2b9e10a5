#include "http/response_head.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tb::http {
namespace {

TEST(ResponseHead, IsWrittenInOrder) {
  Response response = text(200, "hello");
  response.headers.add("X-A", "b");
  EXPECT_EQ(
      response_head(response, 5, false, 784111777000),
      "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: text/plain; charset=utf-8\r\nX-A: b\r\n"
      "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nContent-Length: 5\r\n\r\n");
}

TEST(ResponseHead, FramingIsTheServersOwn) {
  Response response;
  response.headers = {{"content-length", "99"},
                      {"Transfer-Encoding", "chunked"},
                      {"Connection", "upgrade"},
                      {"Cache-Control", "private"}};
  const std::string head = response_head(response, std::nullopt, true, 0);
  EXPECT_THAT(head, testing::Not(testing::HasSubstr("99")));
  EXPECT_THAT(head, testing::Not(testing::HasSubstr("chunked")));
  EXPECT_THAT(head, testing::Not(testing::HasSubstr("upgrade")));
  EXPECT_THAT(head, testing::Not(testing::HasSubstr("no-store")));
  EXPECT_THAT(head, testing::HasSubstr("Connection: close\r\n\r\n"));
}

TEST(ResponseHead, RefusesFieldsThatWouldSplitTheAnswer) {
  for (const Headers::Entry& entry : {Headers::Entry{"X", "a\r\nY: b"},
                                      {"X\r\nY", "b"},
                                      {"X", std::string("a\0b", 3)},
                                      {"", "a"},
                                      {"X:", "a"},
                                      {"X Y", "a"}}) {
    Response response;
    response.headers.add(entry.first, entry.second);
    EXPECT_THROW(response_head(response, 0, false, 0), Error);
  }
}

}  // namespace
}  // namespace tb::http
