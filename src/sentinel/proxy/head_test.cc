// The smuggling corpus: every head that two parsers could read differently is refused, and what clients really send is
// not.
#include "sentinel/proxy/head.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace tb::sentinel::proxy {
namespace {

std::string post(std::string_view fields) {
  return "POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\n" + std::string(fields) + "\r\n";
}

struct Case {
  const char* name;
  std::string head;
};

// One property each. spec: wire 2.4, RFC 9112 2.2, 3, 5, 6.
const std::array kRefused = {
    Case{"both_lengths", post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")},
    Case{"both_lengths_reversed", post("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n")},
    Case{"length_twice_equal", post("Content-Length: 5\r\nContent-Length: 5\r\n")},
    Case{"length_twice_different", post("Content-Length: 5\r\ncontent-length: 6\r\n")},
    Case{"length_list", post("Content-Length: 5, 5\r\n")},
    Case{"length_plus", post("Content-Length: +5\r\n")},
    Case{"length_minus", post("Content-Length: -5\r\n")},
    Case{"length_hex", post("Content-Length: 0x5\r\n")},
    Case{"length_blank_inside", post("Content-Length: 5 0\r\n")},
    Case{"length_empty", post("Content-Length:\r\n")},
    Case{"length_overflow", post("Content-Length: 18446744073709551617\r\n")},
    Case{"encoding_twice", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")},
    Case{"encoding_list", post("Transfer-Encoding: gzip, chunked\r\n")},
    Case{"encoding_identity", post("Transfer-Encoding: identity\r\n")},
    Case{"encoding_quoted", post("Transfer-Encoding: \"chunked\"\r\n")},
    Case{"encoding_x", post("Transfer-Encoding: xchunked\r\n")},
    Case{"encoding_in_1_0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"},
    Case{"blank_before_colon", post("Content-Length : 5\r\n")},
    Case{"tab_before_colon", post("Transfer-Encoding\t: chunked\r\n")},
    Case{"blank_first", "POST / HTTP/1.1\r\n Host: a\r\n\r\n"},
    Case{"fold", post("X-A: b\r\n Transfer-Encoding: chunked\r\n")},
    Case{"fold_with_tab", post("X-A: b\r\n\tc\r\n")},
    Case{"no_colon", post("Transfer-Encoding chunked\r\n")},
    Case{"empty_name", post(": x\r\n")},
    Case{"name_with_blank", post("X A: b\r\n")},
    Case{"name_with_umlaut", post("X-\xc3\xa4: b\r\n")},
    Case{"nul_in_value", post(std::string("X-A: b\0c\r\n", 10))},
    Case{"cr_in_value", post("X-A: b\rTransfer-Encoding: chunked\r\n")},
    Case{"vertical_tab_in_value", post("Transfer-Encoding: \x0b"
                                       "chunked\r\n")},
    Case{"del_in_value", post("X-A: \x7f\r\n")},
    Case{"no_host", "GET /v1/models HTTP/1.1\r\n\r\n"},
    Case{"host_twice", "GET /v1/models HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"},
    Case{"host_with_path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"},
    Case{"host_with_at", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n"},
    Case{"authorization_twice", post("Authorization: Bearer a\r\nAuthorization: Bearer b\r\n")},
    Case{"expect_other", post("Expect: 200-ok\r\n")},
    Case{"version_2", "GET / HTTP/2.0\r\nHost: a\r\n\r\n"},
    Case{"version_1_2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n"},
    Case{"version_lower", "GET / http/1.1\r\nHost: a\r\n\r\n"},
    Case{"version_missing", "GET /\r\nHost: a\r\n\r\n"},
    Case{"two_blanks_before_target", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"},
    Case{"two_blanks_after_target", "GET /  HTTP/1.1\r\nHost: a\r\n\r\n"},
    Case{"tab_in_request_line", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"},
    Case{"target_with_blank", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"},
    Case{"target_with_nul", std::string("GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n", 28)},
    Case{"method_with_colon", "GE:T / HTTP/1.1\r\nHost: a\r\n\r\n"},
    Case{"method_empty", " / HTTP/1.1\r\nHost: a\r\n\r\n"},
    Case{"method_long", std::string(33, 'A') + " / HTTP/1.1\r\nHost: a\r\n\r\n"},
    Case{"empty_line_first", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"},
    Case{"bytes_after", "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n"},
    Case{"no_end", "GET / HTTP/1.1\r\nHost: a\r\n"},
    Case{"empty", ""},
};

TEST(ProxyHead, SmugglingCorpusIsRefused) {
  for (const Case& c : kRefused) {
    const auto head = parse_request_head(c.head);
    ASSERT_FALSE(head) << c.name;
    EXPECT_GE(head.error().status, 400) << c.name;
    EXPECT_FALSE(head.error().code.empty()) << c.name;
  }
  EXPECT_GE(kRefused.size(), 50U);
}

TEST(ProxyHead, TooManyHeaderLines) {
  std::string fields;
  for (std::size_t i = 0; i < kMaxFields; ++i) fields += "X-A: b\r\n";
  const auto head = parse_request_head(post(fields));
  ASSERT_FALSE(head);
  EXPECT_EQ(head.error().status, 431);
}

TEST(ProxyHead, WhatClientsSendIsTaken) {
  const auto head =
      parse_request_head(post("Content-Length: 17\r\nExpect: 100-continue\r\nX-Empty:\r\nX-T: \t a b \t\r\n"));
  ASSERT_TRUE(head);
  EXPECT_EQ(head->method, "POST");
  EXPECT_EQ(head->target, "/v1/chat/completions");
  EXPECT_EQ(head->framing, Framing::kLength);
  EXPECT_EQ(head->length, 17U);
  EXPECT_TRUE(head->keep_alive);
  EXPECT_TRUE(head->expects_continue);
  EXPECT_EQ(find_field(head->fields, "x-t")->value, "a b");
  EXPECT_EQ(find_field(head->fields, "x-empty")->value, "");
}

TEST(ProxyHead, Chunked) {
  const auto head = parse_request_head(post("Transfer-Encoding: Chunked\r\n"));
  ASSERT_TRUE(head);
  EXPECT_EQ(head->framing, Framing::kChunked);
}

TEST(ProxyHead, KeepAlive) {
  const auto keeps = [](std::string_view version, std::string_view connection) {
    const auto head =
        parse_request_head("GET / HTTP/" + std::string(version) + "\r\nHost: a\r\n" + std::string(connection) + "\r\n");
    return head.value().keep_alive;
  };
  EXPECT_TRUE(keeps("1.1", ""));
  EXPECT_FALSE(keeps("1.1", "Connection: close\r\n"));
  EXPECT_FALSE(keeps("1.1", "Connection: te, Close\r\n"));
  EXPECT_FALSE(keeps("1.0", ""));
  EXPECT_TRUE(keeps("1.0", "Connection: keep-alive\r\n"));
}

TEST(ProxyHead, EndIsFoundAndBareLfIsToldAtOnce) {
  EXPECT_EQ(find_head_end("GET / HTTP/1.1\r\nHost: a\r\n").kind, HeadEnd::kNeedMore);
  EXPECT_EQ(find_head_end("").kind, HeadEnd::kNeedMore);
  const HeadEnd found = find_head_end("GET / HTTP/1.1\r\nHost: a\r\n\r\nbody\n");
  EXPECT_EQ(found.kind, HeadEnd::kFound);
  EXPECT_EQ(found.bytes, 27U);
  EXPECT_EQ(find_head_end("GET / HTTP/1.1\n").kind, HeadEnd::kBareLf);
  EXPECT_EQ(find_head_end("GET / HTTP/1.1\r\nHost: a\n\n").kind, HeadEnd::kBareLf);
  EXPECT_EQ(find_head_end("\n").kind, HeadEnd::kBareLf);
  EXPECT_EQ(find_head_end("\r\nGET").kind, HeadEnd::kBareLf);
  EXPECT_EQ(find_head_end(std::string(kMaxHeadBytes, 'a')).kind, HeadEnd::kTooLarge);
  EXPECT_EQ(find_head_end(std::string(kMaxHeadBytes - 1, 'a')).kind, HeadEnd::kNeedMore);
}

TEST(ProxyHead, Responses) {
  const auto framing = [](std::string_view text, std::string_view method = "GET") {
    return parse_response_head(text, method).value().framing;
  };
  EXPECT_EQ(framing("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"), Framing::kLength);
  EXPECT_EQ(framing("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"), Framing::kChunked);
  EXPECT_EQ(framing("HTTP/1.1 200 OK\r\n\r\n"), Framing::kUntilClose);
  EXPECT_EQ(framing("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", "HEAD"), Framing::kNone);
  EXPECT_EQ(framing("HTTP/1.1 204 No Content\r\n\r\n"), Framing::kNone);
  EXPECT_EQ(framing("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"), Framing::kNone);
  EXPECT_EQ(framing("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n"), Framing::kLength);
}

TEST(ProxyHead, BrokenResponsesAreTheUpstreamsFault) {
  for (const std::string_view text :
       {"HTTP/1.1 2x0 OK\r\n\r\n", "HTTP/1.1 99 OK\r\n\r\n", "HTTP/1.1 600 OK\r\n\r\n", "HTTP/3.1 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", "HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        "HTTP/1.1 200 OK\r\n folded\r\n\r\n", "HTTP/1.1 200 OK\r\n", ""}) {
    const auto head = parse_response_head(text, "GET");
    ASSERT_FALSE(head) << text;
    EXPECT_EQ(head.error().status, 502) << text;
  }
}

TEST(ProxyHead, ListMembers) {
  const Fields fields = {{"Connection", "close,  x-a ,,"}, {"connection", "Keep-Alive"}};
  EXPECT_EQ(list_members(fields, "CONNECTION"), (std::vector<std::string_view>{"close", "x-a", "Keep-Alive"}));
}

TEST(EqualFold, FoldsLettersAndNothingElseAtAnyPlace) {
  for (const std::size_t size : {1U, 7U, 8U, 9U, 16U, 19U}) {
    for (std::size_t at = 0; at < size; ++at) {
      for (int a = 0; a < 256; ++a) {
        for (const int b : {a, a ^ 0x20, a ^ 1}) {
          std::string x(size, 'k'), y(size, 'K');
          x[at] = static_cast<char>(a);
          y[at] = static_cast<char>(b);
          ASSERT_EQ(equal_fold(x, y), to_lower(x[at]) == to_lower(y[at])) << a << " " << b << " " << at << "/" << size;
        }
      }
    }
  }
}

}  // namespace
}  // namespace tb::sentinel::proxy
