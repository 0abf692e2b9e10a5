// spec: wire 1.1 (client rules), 2.2; what a range server may say that is no lie, and URLs that expire.
#include "blob/http_source.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "blob/lying_fixture.h"

namespace tb::blob {
namespace {

using Asked = LyingServer::Asked;
using Reply = LyingServer::Reply;
using Fixture = LyingFixture;

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

TEST(HttpSource, TakesARangeInAnyFraming) {
  Fixture chunked([](const Asked&, Reply& r) { r.chunked = true; });
  EXPECT_EQ(chunked.read(100, 1000), Bytes(chunked.blob.begin() + 100, chunked.blob.begin() + 1100));

  Fixture trickling([](const Asked&, Reply& r) { r.byte_by_byte = true; });
  EXPECT_EQ(trickling.read(100, 300), Bytes(trickling.blob.begin() + 100, trickling.blob.begin() + 400));

  Fixture until_close([](const Asked& asked, Reply& r) {
    r.raw = fmt::format("HTTP/1.0 206 X\r\nETag: \"one\"\r\nContent-Range: bytes {}-{}/5000\r\n\r\n{}",
                        asked.range->first, asked.range->last, as_text(r.body));
  });
  EXPECT_EQ(until_close.read(100, 1000), Bytes(until_close.blob.begin() + 100, until_close.blob.begin() + 1100));

  Fixture named([](const Asked&, Reply& r) { r.headers["Content-Encoding"] = "identity"; });
  EXPECT_EQ(named.read(0, 10).size(), 10U);
}

TEST(HttpSource, NeedsNoVersion) {
  Fixture f([](const Asked&, Reply& r) { r.headers.erase("ETag"); });
  f.read(0, 10);
  EXPECT_EQ(f.read(10, 10), Bytes(f.blob.begin() + 10, f.blob.begin() + 20));
  EXPECT_EQ(f.server.asked()[1].if_match, "");
}

TEST(HttpSource, WeakVersionIsComparedButNotSent) {
  Fixture f([](const Asked& asked, Reply& r) { r.headers["ETag"] = asked.number < 2 ? "W/\"one\"" : "W/\"two\""; });
  f.read(0, 10);
  f.read(10, 10);
  EXPECT_EQ(f.server.asked()[1].if_match, "");
  EXPECT_EQ(f.refusal(), "blob_changed");
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

TEST(HttpSource, UrlThatIsNearItsEndIsRenewedBeforeTheStoreRefuses) {
  std::atomic<std::int64_t> now = 0;
  const Bytes blob = pattern(5000);
  LyingServer server(blob, [](const Asked& asked, Reply& r) {
    if (asked.number > 0 && asked.target.find("sig=first") != std::string::npos) r.status = 403;
  });
  const auto renew = [&]() -> DatedUrl { return {SecretUrl(server.url("/model.tbenc?sig=second")), 9000}; };
  http::Client client(quick());
  HttpSource source(client, std::make_shared<UrlProvider>(DatedUrl(SecretUrl(server.url()), 5000), renew,
                                                          [&] { return now.load(); }));
  source.stat();
  now = 4500;
  source.fetch(0, 10, [](ByteView) {});
  EXPECT_EQ(server.requests(), 2) << "the old URL was tried once more";
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
