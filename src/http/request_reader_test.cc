#include "http/request_reader.h"

#include <gtest/gtest.h>

namespace tb::http {
namespace {

struct Outcome {
  std::string reason;  ///< "" = accepted
  std::string body;
  std::string left;
  bool complete = false;
};

/// Feeds `text` in steps of `step` bytes, as a socket would.
Outcome read(std::string_view text, std::size_t step = std::string::npos) {
  RequestReader reader(16 * 1024);
  Outcome out;
  std::string pending;
  try {
    for (std::size_t at = 0; at < text.size() || !pending.empty();) {
      const std::string_view piece = text.substr(at, step);
      at += piece.size();
      pending += piece;
      while (!pending.empty() && !reader.all_done()) {
        const std::size_t used = reader.feed(pending);
        pending.erase(0, used);
        out.body += reader.take_body();
        if (used == 0) break;
      }
      if (reader.all_done() || piece.empty()) break;
    }
  } catch (const Error& e) {
    out.reason = e.reason;
    return out;
  }
  out.complete = reader.all_done();
  out.left = pending + std::string();
  return out;
}

TEST(RequestReader, ReadsAHeadAndItsParts) {
  RequestReader reader(16 * 1024);
  const std::string_view text =
      "POST /a/b?x=1&y=%20 HTTP/1.1\r\nHost: h\r\nX-A:  b \r\nContent-Length: 3\r\n\r\nabcGET";
  std::size_t at = reader.feed(text);
  ASSERT_TRUE(reader.head_done());
  ASSERT_FALSE(reader.all_done());
  EXPECT_EQ(reader.request().method, "POST");
  EXPECT_EQ(reader.request().path, "/a/b");
  EXPECT_EQ(reader.request().target, "/a/b?x=1&y=%20");
  EXPECT_EQ(reader.request().query.one("y"), " ");
  EXPECT_EQ(reader.request().headers.get("x-a"), "b");
  EXPECT_EQ(reader.declared_bytes(), 3u);
  at += reader.feed(text.substr(at));
  EXPECT_TRUE(reader.all_done());
  EXPECT_EQ(reader.take_body(), "abc");
  EXPECT_EQ(text.substr(at), "GET");
  EXPECT_TRUE(reader.may_keep_alive());
}

TEST(RequestReader, TheSameWhateverTheCuts) {
  const std::string_view text =
      "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n00a;x=y\r\n0123456789\r\n0\r\n\r\n";
  for (std::size_t step = 1; step <= text.size(); ++step) {
    const Outcome out = read(text, step);
    EXPECT_EQ(out.reason, "") << step;
    EXPECT_TRUE(out.complete) << step;
    EXPECT_EQ(out.body, "abc0123456789") << step;
  }
}

// Each of these is how one request is smuggled inside another.
TEST(RequestReader, RefusesAmbiguousLengths) {
  for (const char* fields : {"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
                             "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
                             "Content-Length: 3\r\nContent-Length: 3\r\n",
                             "Content-Length: 3, 3\r\n",
                             "Content-Length: 3\r\nContent-Length: 4\r\n",
                             "Content-Length: +3\r\n",
                             "Content-Length: -3\r\n",
                             "Content-Length: 0x3\r\n",
                             "Content-Length: \r\n",
                             "Content-Length: 18446744073709551616\r\n",
                             "Transfer-Encoding: gzip\r\n",
                             "Transfer-Encoding: gzip, chunked\r\n",
                             "Transfer-Encoding: chunked, chunked\r\n",
                             "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
                             "Transfer-Encoding: xchunked\r\n",
                             "Transfer-Encoding: identity\r\n",
                             "Transfer-Encoding:\r\n",
                             "Transfer-Encoding: gzip\r\nContent-Length: 3\r\n",
                             "Transfer-Encoding : chunked\r\n",
                             "Content-Length : 3\r\n"}) {
    const Outcome out = read(std::string("POST / HTTP/1.1\r\nHost: h\r\n") + fields + "\r\nabc");
    EXPECT_EQ(out.reason, "bad_request") << fields;
    EXPECT_EQ(out.body, "") << fields;
  }
  EXPECT_EQ(read("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").reason, "bad_request");
}

TEST(RequestReader, RefusesBrokenChunks) {
  for (const char* body :
       {"x\r\nabc\r\n", "3\r\nabcd\r\n0\r\n\r\n", "-1\r\n", "3 \r\nabc\r\n0\r\n\r\n", "0x3\r\nabc\r\n\r\n",
        "fffffffffffffffff\r\n", "3\nabc\r\n", "\r\n", "0\r\nX: y\r\n\r\n", "0\r\nContent-Length: 5\r\n\r\n"}) {
    EXPECT_EQ(read(std::string("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n") + body).reason,
              "bad_request")
        << body;
  }
  const std::string endless(100'000, '0');
  EXPECT_EQ(read("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3;" + endless, 1000).reason,
            "bad_request");
}

TEST(RequestReader, RefusesBrokenHeads) {
  for (const std::string& text :
       {std::string("GET / HTTP/1.1\r\n\r\n"), std::string("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        std::string("GET /\xc3\xa4 HTTP/1.1\r\nHost: h\r\n\r\n"), std::string("GET /%61 HTTP/1.1\r\nHost: h\r\n\r\n"),
        std::string("GET /a//b HTTP/1.1\r\nHost: h\r\n\r\n"), std::string("GET /../a HTTP/1.1\r\nHost: h\r\n\r\n"),
        std::string("GET /a\\b HTTP/1.1\r\nHost: h\r\n\r\n"), std::string("GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n"),
        std::string("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n"), std::string("CONNECT h:1 HTTP/1.1\r\nHost: h\r\n\r\n"),
        std::string("GET / HTTP/1.1\r\nHost: h\r\nX: a\nb\r\n\r\n"),
        std::string("GET / HTTP/1.1\r\nHost: h\r\nX: a\rb\r\n\r\n"),
        std::string("GET / HTTP/1.1\r\nHost: h\r\nX: a\0b\r\n\r\n", 35),
        std::string("GET / HTTP/1.1\r\nHost: h\r\nX Y: a\r\n\r\n"),
        std::string("GET / HTTP/1.1\r\nHost: h\r\n: a\r\n\r\n"), std::string("G@T / HTTP/1.1\r\nHost: h\r\n\r\n"),
        std::string("GET  / HTTP/1.1\r\nHost: h\r\n\r\n"),
        std::string("GET / HTTP/1.1\r\nHost: h\r\nExpect: miracles\r\n\r\n"),
        std::string("GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n")}) {
    EXPECT_EQ(read(text).reason, "bad_request") << text;
  }
  EXPECT_EQ(read("GET /?a=% HTTP/1.1\r\nHost: h\r\n\r\n").reason, "bad_query");
  EXPECT_EQ(read("GET / HTTP/2.0\r\nHost: h\r\n\r\n").reason, "http_version_unsupported");
  EXPECT_EQ(read("GET / HTTP/0.9\r\nHost: h\r\n\r\n").reason, "http_version_unsupported");
  EXPECT_EQ(read("GET / FTP/1.1\r\nHost: h\r\n\r\n").reason, "http_version_unsupported");
}

TEST(RequestReader, BoundsTheHead) {
  EXPECT_EQ(read("GET / HTTP/1.1\r\nHost: h\r\nX: " + std::string(20'000, 'a') + "\r\n\r\n", 1000).reason,
            "header_too_large");
  EXPECT_EQ(read("GET /" + std::string(20'000, 'a'), 1000).reason, "header_too_large");
  std::string many = "GET / HTTP/1.1\r\nHost: h\r\n";
  for (int i = 0; i < 100; ++i) many += "X: a\r\n";
  EXPECT_EQ(read(many + "\r\n").reason, "header_too_large");
}

TEST(RequestReader, OldClientsAreAnsweredOnce) {
  RequestReader reader(16 * 1024);
  reader.feed("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_TRUE(reader.all_done());
  EXPECT_FALSE(reader.may_keep_alive());
}

}  // namespace
}  // namespace tb::http
