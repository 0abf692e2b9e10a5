// spec: wire 1.1 (client rules), 2.2; every lie a range server can tell.
#include "blob/http_source.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "blob/lying_server.h"

namespace tb::blob {
namespace {

using Asked = LyingServer::Asked;
using Reply = LyingServer::Reply;

Bytes pattern(std::size_t bytes) {
  Bytes out(bytes);
  for (std::size_t i = 0; i < bytes; ++i) out[i] = static_cast<std::uint8_t>(i * 7 + i / 251);
  return out;
}

http::ClientConfig quick() {
  http::ClientConfig config;
  config.stall_timeout_ms = 1000;
  config.use_proxy_environment = false;
  return config;
}

/// A server, a client and a source over them.
struct Fixture {
  explicit Fixture(LyingServer::OnRequest lie = nullptr, UrlProvider::Renew renew = nullptr, std::size_t bytes = 5000)
      : blob(pattern(bytes)),
        server(blob, std::move(lie)),
        client(quick()),
        urls(std::make_shared<UrlProvider>(SecretUrl(server.url()), std::move(renew))),
        source(client, urls) {}

  Bytes read(std::uint64_t offset, std::uint64_t bytes) {
    Bytes got;
    source.fetch(offset, bytes, [&](ByteView piece) { got.insert(got.end(), piece.begin(), piece.end()); });
    return got;
  }
  /// The reason that reading fails with.
  std::string refusal(std::uint64_t offset = 100, std::uint64_t bytes = 1000) {
    Bytes got;
    try {
      source.fetch(offset, bytes, [&](ByteView piece) { got.insert(got.end(), piece.begin(), piece.end()); });
    } catch (const Error& error) {
      EXPECT_EQ(error.message.find("sig="), std::string::npos) << "a signature in: " << error.message;
      // Whatever was given is a prefix of what was asked for.
      EXPECT_LE(got.size(), bytes);
      EXPECT_TRUE(std::equal(got.begin(), got.end(), blob.begin() + static_cast<std::ptrdiff_t>(offset)));
      return error.reason;
    }
    return "";
  }

  Bytes blob;
  LyingServer server;
  http::Client client;
  std::shared_ptr<UrlProvider> urls;
  HttpSource source;
};

TEST(HttpSource, ReadsExactRangesAndPinsTheVersion) {
  Fixture f;
  EXPECT_EQ(f.read(0, 32), Bytes(f.blob.begin(), f.blob.begin() + 32));
  EXPECT_EQ(f.source.stat().bytes, 5000U);
  EXPECT_EQ(f.source.stat().etag, "\"one\"");
  EXPECT_EQ(f.read(4990, 10), Bytes(f.blob.begin() + 4990, f.blob.end()));
  const auto asked = f.server.asked();
  ASSERT_EQ(asked.size(), 2U) << "size and version cost no request of their own";
  EXPECT_EQ(asked[0].if_match, "");
  EXPECT_EQ(asked[1].if_match, "\"one\"");
}

TEST(HttpSource, StatAloneAsksForOneByte) {
  Fixture f;
  EXPECT_EQ(f.source.stat().bytes, 5000U);
  ASSERT_EQ(f.server.asked().size(), 1U);
  EXPECT_EQ(f.server.asked()[0].range, (http::ByteRange{0, 0}));
}

TEST(HttpSource, PrintsNoSignature) {
  Fixture f;
  EXPECT_EQ(f.source.printable().find("sig"), std::string::npos);
}

struct Lie {
  const char* name;
  LyingServer::OnRequest tell;
  const char* reason;
};

class Lies : public testing::TestWithParam<Lie> {};

TEST_P(Lies, AreRefused) {
  Fixture f(GetParam().tell);
  EXPECT_EQ(f.refusal(), GetParam().reason);
}

INSTANTIATE_TEST_SUITE_P(
    HttpSource, Lies,
    testing::Values(
        Lie{"WholeBlobToARange",
            [](const Asked&, Reply& r) {
              r.status = 200;
              r.headers.erase("Content-Range");
            },
            "blob_range_refused"},
        Lie{"NoContentRange", [](const Asked&, Reply& r) { r.headers.erase("Content-Range"); }, "blob_range_refused"},
        Lie{"GarbageContentRange", [](const Asked&, Reply& r) { r.headers["Content-Range"] = "bytes all"; },
            "blob_range_refused"},
        Lie{"UnknownTotal", [](const Asked&, Reply& r) { r.headers["Content-Range"] = "bytes 100-1099/*"; },
            "blob_range_refused"},
        Lie{"AnotherRange", [](const Asked&, Reply& r) { r.headers["Content-Range"] = "bytes 101-1100/5000"; },
            "blob_range_refused"},
        Lie{"ShorterRange",
            [](const Asked&, Reply& r) {
              r.headers["Content-Range"] = "bytes 100-1098/5000";
              r.body.resize(999);
            },
            "blob_range_refused"},
        Lie{"ShortBody", [](const Asked&, Reply& r) { r.body.resize(999); }, "blob_cut_short"},
        Lie{"ShortChunkedBody",
            [](const Asked&, Reply& r) {
              r.body.resize(10);
              r.chunked = true;
            },
            "blob_cut_short"},
        Lie{"LongBody", [](const Asked&, Reply& r) { r.body.resize(1001); }, "blob_range_refused"},
        Lie{"LongChunkedBody",
            [](const Asked&, Reply& r) {
              r.body.resize(1001);
              r.chunked = true;
            },
            "blob_range_refused"},
        Lie{"BodyEndsEarly",
            [](const Asked&, Reply& r) {
              r.body.resize(10);
              r.content_length = 1000;
            },
            "network_unreachable"},
        Lie{"ResetInTheBody", [](const Asked&, Reply& r) { r.reset_after = 500; }, "network_unreachable"},
        Lie{"Stall", [](const Asked&, Reply& r) { r.stall_after = 500; }, "network_unreachable"},
        Lie{"Encoded", [](const Asked&, Reply& r) { r.headers["Content-Encoding"] = "gzip"; }, "blob_range_refused"},
        Lie{"Redirect",
            [](const Asked&, Reply& r) {
              r.status = 302;
              r.headers["Location"] = "http://127.0.0.1:1/";
            },
            "blob_refused"},
        Lie{"NotFound", [](const Asked&, Reply& r) { r.status = 404; }, "blob_not_found"},
        Lie{"Precondition", [](const Asked&, Reply& r) { r.status = 412; }, "blob_changed"},
        Lie{"Unauthorized", [](const Asked&, Reply& r) { r.status = 401; }, "url_expired"},
        Lie{"Forbidden", [](const Asked&, Reply& r) { r.status = 403; }, "url_expired"},
        Lie{"TooManyRequests", [](const Asked&, Reply& r) { r.status = 429; }, "blob_unavailable"},
        Lie{"ServerFault", [](const Asked&, Reply& r) { r.status = 500; }, "blob_unavailable"},
        Lie{"Teapot", [](const Asked&, Reply& r) { r.status = 418; }, "blob_refused"}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(HttpSource, ShortBlobIsSeenAtItsTotal) {
  Fixture f([](const Asked&, Reply& r) {
    r.headers["Content-Range"] = "bytes 100-599/600";
    r.body.resize(500);
  });
  EXPECT_EQ(f.refusal(), "range_outside_blob");
}

TEST(HttpSource, BlobThatIsReplacedStopsTheDownload) {
  Fixture other_version([](const Asked& asked, Reply& r) {
    if (asked.number > 0) r.headers["ETag"] = "\"two\"";
  });
  other_version.read(0, 10);
  EXPECT_EQ(other_version.refusal(), "blob_changed");

  Fixture other_size([](const Asked& asked, Reply& r) {
    if (asked.number > 0) r.headers["Content-Range"] = "bytes 100-1099/6000";
  });
  other_size.read(0, 10);
  EXPECT_EQ(other_size.refusal(), "blob_changed");
}

TEST(HttpSource, WeakVersionIsComparedButNotSent) {
  Fixture f([](const Asked& asked, Reply& r) { r.headers["ETag"] = asked.number < 2 ? "W/\"one\"" : "W/\"two\""; });
  f.read(0, 10);
  f.read(10, 10);
  EXPECT_EQ(f.server.asked()[1].if_match, "");
  EXPECT_EQ(f.refusal(), "blob_changed");
}

TEST(HttpSource, TellsHowLongTheServerAskedToWait) {
  Fixture f([](const Asked&, Reply& r) {
    r.status = 503;
    r.headers["Retry-After"] = "7";
  });
  try {
    f.read(0, 10);
    FAIL() << "503 was taken for an answer";
  } catch (const FetchError& error) {
    EXPECT_EQ(error.retry_after_ms, 7000);
    EXPECT_TRUE(error.retryable());
  }
}

TEST(HttpSource, ExpiredUrlIsRenewedOnceForAllWorkers) {
  std::atomic<int> renewals = 0;
  std::string fresh;
  Fixture f(
      [](const Asked& asked, Reply& r) {
        if (asked.target.find("sig=first") != std::string::npos) r.status = 403;
      },
      [&] {
        ++renewals;
        return SecretUrl(fresh);
      });
  fresh = f.server.url("/model.tbenc?sig=second");
  std::vector<std::thread> workers;
  for (std::uint64_t i = 0; i < 8; ++i) {
    workers.emplace_back([&f, i] {
      const Bytes got = f.read(i * 100, 100);
      EXPECT_TRUE(std::equal(got.begin(), got.end(), f.blob.begin() + static_cast<std::ptrdiff_t>(i * 100)));
    });
  }
  for (auto& worker : workers) worker.join();
  EXPECT_EQ(renewals, 1);
}

TEST(HttpSource, RenewalThatNeverHelpsEnds) {
  std::atomic<int> renewals = 0;
  std::string same;
  Fixture f([](const Asked&, Reply& r) { r.status = 401; },
            [&] {
              ++renewals;
              return SecretUrl(same);
            });
  same = f.server.url();
  EXPECT_EQ(f.refusal(), "url_expired");
  EXPECT_EQ(renewals, UrlProvider::kMostRenewalsInARow);
}

TEST(HttpSource, StopEndsAStalledRead) {
  Fixture f([](const Asked&, Reply& r) { r.stall_after = 10; });
  std::stop_source stop;
  stop.request_stop();
  try {
    f.source.fetch(0, 100, [](ByteView) {}, stop.get_token());
    FAIL() << "a stopped read has ended well";
  } catch (const Error& error) {
    EXPECT_EQ(error.reason, "cancelled");
  }
}

TEST(HttpSource, WhatTheSinkThrowsLeavesFetch) {
  Fixture f;
  try {
    f.source.fetch(0, 100, [](ByteView) { throw Error("tag_mismatch", "no"); });
    FAIL() << "the sink's refusal was lost";
  } catch (const Error& error) {
    EXPECT_EQ(error.reason, "tag_mismatch");
  }
}

TEST(FetchDocument, TakesAWholeSmallAnswerOnly) {
  const Bytes text = pattern(300);
  LyingServer server(text);
  http::Client client(quick());
  UrlProvider urls{SecretUrl(server.url("/m.json?sig=x"))};
  EXPECT_EQ(fetch_document(client, urls, 300), as_text(text));
  try {
    fetch_document(client, urls, 299);
    FAIL() << "more than the bound was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.reason, "answer_too_large");
  }
}

}  // namespace
}  // namespace tb::blob
