// spec: wire 1.1 (client rules), 2.2; every lie a range server can tell: each is named, is worth another attempt or
// not, and gives the reader nothing but a correct prefix of what it asked for.
#include <gtest/gtest.h>

#include "base/clock.h"
#include "blob/lying_fixture.h"
#include "http/response_head.h"

namespace tb::blob {
namespace {

using Asked = LyingServer::Asked;
using Reply = LyingServer::Reply;
using Fixture = LyingFixture;

constexpr bool kFinal = false, kAgain = true;

struct Lie {
  const char* name;
  LyingServer::OnRequest tell;
  const char* reason;
  bool retryable;
  const char* says;  ///< stands in the message
};

class Lies : public testing::TestWithParam<Lie> {};

TEST_P(Lies, AreRefused) {
  Fixture f(GetParam().tell);
  const auto error = f.failure();
  ASSERT_TRUE(error) << "the lie was believed";
  EXPECT_EQ(error->reason, GetParam().reason) << error->story();
  EXPECT_EQ(error->retryable(), GetParam().retryable);
  EXPECT_NE(error->story().find(GetParam().says), std::string::npos) << error->story();
}

LyingServer::OnRequest status(int code) {
  return [code](const Asked&, Reply& r) { r.status = code; };
}

LyingServer::OnRequest header(const char* name, const char* value) {
  return [name, value](const Asked&, Reply& r) { r.headers[name] = value; };
}

LyingServer::OnRequest raw(std::string bytes) {
  return [bytes = std::move(bytes)](const Asked&, Reply& r) { r.raw = bytes; };
}

INSTANTIATE_TEST_SUITE_P(
    Ranges, Lies,
    testing::Values(
        Lie{"WholeBlob",
            [](const Asked&, Reply& r) {
              r.status = 200;
              r.headers.erase("Content-Range");
            },
            "blob_range_refused", kFinal, "answered 200 to a range"},
        Lie{"WholeBlobWithContentRange", status(200), "blob_range_refused", kFinal, "answered 200 to a range"},
        Lie{"NoContentRange", [](const Asked&, Reply& r) { r.headers.erase("Content-Range"); }, "blob_range_refused",
            kFinal, "without an exact Content-Range"},
        Lie{"GarbageContentRange", header("Content-Range", "bytes all"), "blob_range_refused", kFinal,
            "without an exact Content-Range"},
        Lie{"TwoContentRanges", [](const Asked&, Reply& r) { r.more_head = "Content-Range: bytes 100-1099/5000\r\n"; },
            "blob_range_refused", kFinal, "without an exact Content-Range"},
        Lie{"OtherUnit", header("Content-Range", "items 100-1099/5000"), "blob_range_refused", kFinal,
            "without an exact Content-Range"},
        Lie{"UnknownTotal", header("Content-Range", "bytes 100-1099/*"), "blob_range_refused", kFinal,
            "without an exact Content-Range"},
        Lie{"NumbersBeyond64Bits", header("Content-Range", "bytes 100-1099/36893488147419103232"), "blob_range_refused",
            kFinal, "without an exact Content-Range"},
        Lie{"RangeBeyondItsTotal", header("Content-Range", "bytes 100-1099/500"), "blob_range_refused", kFinal,
            "without an exact Content-Range"},
        Lie{"AnotherRange", header("Content-Range", "bytes 101-1100/5000"), "blob_range_refused", kFinal,
            "another range"},
        Lie{"ShorterRange",
            [](const Asked&, Reply& r) {
              r.headers["Content-Range"] = "bytes 100-1098/5000";
              r.body.resize(999);
            },
            "blob_range_refused", kFinal, "another range"},
        Lie{"LongerRange",
            [](const Asked&, Reply& r) {
              r.headers["Content-Range"] = "bytes 100-1100/5000";
              r.body.resize(1001);
            },
            "blob_range_refused", kFinal, "another range"},
        Lie{"ShorterBlob",
            [](const Asked&, Reply& r) {
              r.headers["Content-Range"] = "bytes 100-599/600";
              r.body.resize(500);
            },
            "range_outside_blob", kFinal, "has 600 bytes"},
        Lie{"NotSatisfiable", status(416), "range_outside_blob", kFinal, "answered 416"},
        Lie{"SeveralRanges",
            [](const Asked&, Reply& r) {
              r.headers.erase("Content-Range");
              r.headers["Content-Type"] = "multipart/byteranges; boundary=x";
              const std::string text = "--x\r\nContent-Range: bytes 100-1099/5000\r\n\r\n";
              r.body.insert(r.body.begin(), text.begin(), text.end());
            },
            "blob_range_refused", kFinal, "multipart"},
        Lie{"OneRangeAsSeveral", header("Content-Type", "Multipart/ByteRanges; boundary=x"), "blob_range_refused",
            kFinal, "multipart"},
        Lie{"Gzip", header("Content-Encoding", "gzip"), "blob_range_refused", kFinal, "encoded"},
        Lie{"UnknownEncoding", header("Content-Encoding", "aes128gcm"), "blob_range_refused", kFinal, "encoded"}),
    [](const auto& test) { return std::string(test.param.name); });

INSTANTIATE_TEST_SUITE_P(
    Bodies, Lies,
    testing::Values(
        Lie{"Short", [](const Asked&, Reply& r) { r.body.resize(999); }, "blob_cut_short", kAgain, "999 of 1000 bytes"},
        Lie{"Empty", [](const Asked&, Reply& r) { r.body.clear(); }, "blob_cut_short", kAgain, "0 of 1000 bytes"},
        Lie{"ShortChunked",
            [](const Asked&, Reply& r) {
              r.body.resize(10);
              r.chunked = true;
            },
            "blob_cut_short", kAgain, "10 of 1000 bytes"},
        Lie{"Long", [](const Asked&, Reply& r) { r.body.resize(1001); }, "blob_range_refused", kFinal, "more bytes"},
        Lie{"LongChunked",
            [](const Asked&, Reply& r) {
              r.body.resize(1001);
              r.chunked = true;
            },
            "blob_range_refused", kFinal, "more bytes"},
        Lie{"LongWithoutLength",
            raw("HTTP/1.1 206 X\r\nETag: \"one\"\r\nContent-Range: bytes 100-1099/5000\r\n\r\n" +
                std::string(as_text(pattern(5000)).substr(100, 1001))),
            "blob_range_refused", kFinal, "more bytes"},
        Lie{"EndsEarly",
            [](const Asked&, Reply& r) {
              r.body.resize(10);
              r.content_length = 1000;
            },
            "network_unreachable", kAgain, "partial file"},
        Lie{"ChunkThatIsNone",
            raw("HTTP/1.1 206 X\r\nETag: \"one\"\r\nContent-Range: bytes 100-1099/5000\r\nTransfer-Encoding: "
                "chunked\r\n\r\nzz\r\nabc"),
            "network_unreachable", kAgain, "127.0.0.1"},
        Lie{"ResetInTheBody", [](const Asked&, Reply& r) { r.reset_after = 500; }, "network_unreachable", kAgain,
            "127.0.0.1"},
        Lie{"Stall", [](const Asked&, Reply& r) { r.stall_after = 500; }, "network_unreachable", kAgain, "imeout"}),
    [](const auto& test) { return std::string(test.param.name); });

INSTANTIATE_TEST_SUITE_P(
    Heads, Lies,
    testing::Values(Lie{"ResetInTheHead", [](const Asked&, Reply& r) { r.reset_in_head = 30; }, "network_unreachable",
                        kAgain, "127.0.0.1"},
                    Lie{"NothingAtAll", raw(""), "network_unreachable", kAgain, "no data"},
                    Lie{"Garbage", raw("SSH-2.0-OpenSSH_9.2\r\n"), "answer_malformed", kFinal, "127.0.0.1"},
                    Lie{"BinaryGarbage", raw(std::string("\x15\x03\x01\x00\x02\x02\x50\0", 8)), "answer_malformed",
                        kFinal, "127.0.0.1"},
                    Lie{"EndlessHead", raw("HTTP/1.1 206 X\r\n" + std::string(200'000, 'a')), "answer_malformed",
                        kFinal, "127.0.0.1"},
                    Lie{"ManyFields",
                        [](const Asked&, Reply& r) {
                          for (int i = 0; i < 300; ++i) r.more_head += "X: y\r\n";
                        },
                        "answer_malformed", kFinal, "header is too large"},
                    Lie{"NoContent", status(204), "blob_refused", kFinal, "answered 204"},
                    Lie{"NotModified", status(304), "blob_refused", kFinal, "answered 304"},
                    Lie{"Unauthorized", status(401), "url_expired", kFinal, "answered 401"},
                    Lie{"Forbidden", status(403), "url_expired", kFinal, "answered 403"},
                    Lie{"NotFound", status(404), "blob_not_found", kFinal, "answered 404"},
                    Lie{"RequestTimeout", status(408), "blob_unavailable", kAgain, "answered 408"},
                    Lie{"Gone", status(410), "blob_not_found", kFinal, "answered 410"},
                    Lie{"Precondition", status(412), "blob_changed", kFinal, "answered 412"},
                    Lie{"Teapot", status(418), "blob_refused", kFinal, "answered 418"},
                    Lie{"TooManyRequests", status(429), "blob_unavailable", kAgain, "answered 429"},
                    Lie{"ServerFault", status(500), "blob_unavailable", kAgain, "answered 500"},
                    Lie{"Busy", status(503), "blob_unavailable", kAgain, "answered 503"}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(Lies, RedirectsAreNotFollowed) {
  for (const int code : {300, 301, 302, 303, 307, 308}) {
    // To itself: whoever follows runs in a circle.
    Fixture f([code](const Asked& asked, Reply& r) {
      r.status = code;
      r.headers["Location"] = asked.target;
    });
    const auto error = f.failure();
    ASSERT_TRUE(error) << code;
    EXPECT_EQ(error->reason, "blob_refused");
    EXPECT_NE(error->message.find("redirects are not followed"), std::string::npos);
    EXPECT_EQ(f.server.requests(), 1);
  }
}

TEST(Lies, BlobThatIsReplacedStopsTheDownload) {
  const auto later = [](LyingServer::OnRequest change) {
    Fixture f([change = std::move(change)](const Asked& asked, Reply& r) {
      if (asked.number > 0) change(asked, r);
    });
    f.read(0, 10);
    return f.refusal();
  };
  EXPECT_EQ(later(header("ETag", "\"two\"")), "blob_changed");
  EXPECT_EQ(later(header("ETag", "W/\"one\"")), "blob_changed");
  EXPECT_EQ(later([](const Asked&, Reply& r) { r.headers.erase("ETag"); }), "blob_changed");
  EXPECT_EQ(later(header("Content-Range", "bytes 100-1099/6000")), "blob_changed");
  EXPECT_EQ(later(header("Content-Range", "bytes 100-1099/4000")), "blob_changed");
}

TEST(Lies, VersionThatComesLaterIsAnotherOne) {
  Fixture f([](const Asked& asked, Reply& r) {
    if (asked.number == 0) r.headers.erase("ETag");
  });
  f.read(0, 10);
  EXPECT_EQ(f.refusal(), "blob_changed");
}

TEST(Lies, BytesAfterAnAnswerAreNotTheNextAnswer) {
  for (const bool at_once : {false, true}) {
    Fixture f([at_once](const Asked& asked, Reply& r) {
      if (asked.number > 0) return;
      r.after_body_at_once = at_once;
      r.after_body =
          "HTTP/1.1 206 X\r\nETag: \"one\"\r\nContent-Range: bytes 100-104/5000\r\nContent-Length: 5\r\n\r\nfalse";
    });
    f.read(0, 10);
    f.server.wait_until_answered();
    EXPECT_EQ(f.read(100, 5), Bytes(f.blob.begin() + 100, f.blob.begin() + 105)) << at_once;
    EXPECT_EQ(f.server.requests(), 2);
  }
}

TEST(Lies, WaitThatTheServerAsksForIsTold) {
  const auto told = [](int code, const std::string& after) {
    Fixture f([&](const Asked&, Reply& r) {
      r.status = code;
      if (!after.empty()) r.headers["Retry-After"] = after;
    });
    const auto error = f.failure();
    EXPECT_TRUE(error && error->retryable());
    return error ? error->retry_after_ms : std::nullopt;
  };
  EXPECT_EQ(told(503, "7"), 7000);
  EXPECT_EQ(told(429, "0"), 0);
  EXPECT_EQ(told(503, "Sun, 06 Nov 1994 08:49:37 GMT"), 0) << "what has passed is no wait";
  const auto hour = told(429, http::http_date(unix_ms_now() + 3'600'000));
  ASSERT_TRUE(hour);
  EXPECT_GT(*hour, 0);
  EXPECT_LE(*hour, 3'600'000);
  EXPECT_EQ(told(503, "soon"), std::nullopt);
  EXPECT_EQ(told(503, "-1"), std::nullopt);
  EXPECT_EQ(told(503, ""), std::nullopt);
}

}  // namespace
}  // namespace tb::blob
