#include "blob/url.h"

#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>

#include "base/error.h"

namespace tb::blob {
namespace {

TEST(UrlProvider, FixedUrlIsNeverRenewed) {
  UrlProvider urls(SecretUrl("https://a/b"));
  EXPECT_FALSE(urls.renew(urls.current().generation));
}

TEST(UrlProvider, OneRenewalServesEverybodyWhoSawTheOldOne) {
  int asked = 0;
  UrlProvider urls(SecretUrl("https://a/1"), [&] {
    ++asked;
    return SecretUrl("https://a/2");
  });
  const auto seen = urls.current();
  EXPECT_TRUE(urls.renew(seen.generation));
  EXPECT_TRUE(urls.renew(seen.generation));
  EXPECT_EQ(asked, 1);
  EXPECT_EQ(urls.current().url.printable(), "https://a/2");
}

TEST(UrlProvider, RenewalsInARowEndAndAGoodAnswerStartsThemAnew) {
  UrlProvider urls(SecretUrl("https://a/1"), [] { return SecretUrl("https://a/n"); });
  for (int i = 0; i < UrlProvider::kMostRenewalsInARow; ++i) EXPECT_TRUE(urls.renew(urls.current().generation));
  EXPECT_FALSE(urls.renew(urls.current().generation));
  urls.served(urls.current().generation - 1);
  EXPECT_FALSE(urls.renew(urls.current().generation)) << "an answer to an older URL proves nothing";
  urls.served(urls.current().generation);
  EXPECT_TRUE(urls.renew(urls.current().generation));
}

TEST(UrlProvider, FailedRenewalIsPassedOnAndKeepsTheUrl) {
  UrlProvider urls(SecretUrl("https://a/1"), []() -> SecretUrl { throw Error("internal", "no answer"); });
  const auto before = urls.current();
  EXPECT_THROW(urls.renew(before.generation), Error);
  EXPECT_EQ(urls.current().generation, before.generation);
}

TEST(UrlProvider, IssuerMayReplaceTheUrlItselfWhileItIsAsked) {
  UrlProvider* provider = nullptr;
  UrlProvider urls(SecretUrl("https://a/1"), [&] {
    provider->replace(SecretUrl("https://a/2"));
    return SecretUrl("https://a/2");
  });
  provider = &urls;
  EXPECT_TRUE(urls.renew(urls.current().generation));
  EXPECT_EQ(urls.current().url.printable(), "https://a/2");
}

TEST(UrlProvider, ReplacedFromOutside) {
  UrlProvider urls(SecretUrl("https://a/1"));
  const auto seen = urls.current();
  urls.replace(SecretUrl("https://a/2"));
  EXPECT_TRUE(urls.renew(seen.generation));
}

/// An issuer of URLs that live `life_ms`, and a clock that a test moves.
struct Issuer {
  explicit Issuer(std::int64_t life_ms_in) : life_ms(life_ms_in) {
    urls.emplace(give(), [this] { return give(); }, [this] { return now.load(); });
  }
  DatedUrl give() {
    if (failing) {
      ++refused;
      throw Error("control_plane_unavailable", "no answer");
    }
    return {SecretUrl("https://a/" + std::to_string(given++)), now + life_ms};
  }
  std::string at(std::int64_t ms) {
    now = ms;
    return urls->for_request().url.printable();
  }

  std::int64_t life_ms;
  std::atomic<std::int64_t> now = 0;
  bool failing = false;
  int given = 0, refused = 0;
  std::optional<UrlProvider> urls;
};

TEST(UrlProviderMargin, IsATenthOfTheLifeAtLeastASecondAtMostHalf) {
  EXPECT_EQ(UrlProvider::renewal_margin_ms(3'600'000), 360'000);
  EXPECT_EQ(UrlProvider::renewal_margin_ms(10'000), 1000);
  EXPECT_EQ(UrlProvider::renewal_margin_ms(5000), 1000);
  EXPECT_EQ(UrlProvider::renewal_margin_ms(1000), 500);
}

TEST(UrlProviderAhead, RenewsBeforeTheEndAndNotSooner) {
  Issuer hour(3'600'000);
  EXPECT_EQ(hour.at(3'239'999), "https://a/0");
  EXPECT_EQ(hour.at(3'240'000), "https://a/1");
  EXPECT_EQ(hour.at(3'600'000), "https://a/1");
  EXPECT_EQ(hour.given, 2);

  Issuer five_seconds(5000);
  EXPECT_EQ(five_seconds.at(3999), "https://a/0");
  EXPECT_EQ(five_seconds.at(4000), "https://a/1");
  EXPECT_EQ(five_seconds.at(7999), "https://a/1");
  EXPECT_EQ(five_seconds.at(8000), "https://a/2");
}

TEST(UrlProviderAhead, LookingAtTheUrlAsksNobody) {
  Issuer issuer(5000);
  issuer.now = 4500;
  EXPECT_EQ(issuer.urls->current().url.printable(), "https://a/0");
  EXPECT_EQ(issuer.given, 1);
}

TEST(UrlProviderAhead, FailureKeepsTheUrlAndIsNotRepeatedAtOnce) {
  Issuer issuer(3'600'000);
  issuer.failing = true;
  EXPECT_EQ(issuer.at(3'300'000), "https://a/0");
  EXPECT_EQ(issuer.refused, 1);
  EXPECT_EQ(issuer.at(3'300'249), "https://a/0");
  EXPECT_EQ(issuer.refused, 1) << "asked again at once";
  EXPECT_EQ(issuer.at(3'300'250), "https://a/0");
  EXPECT_EQ(issuer.refused, 2);
  EXPECT_EQ(issuer.at(3'300'749), "https://a/0");
  EXPECT_EQ(issuer.refused, 2) << "the wait did not grow";
  for (int i = 0; i < 20; ++i) issuer.at(3'400'000 + i * 30'000);
  EXPECT_EQ(issuer.refused, 22) << "the wait grew beyond half a minute";
  issuer.failing = false;
  EXPECT_EQ(issuer.at(4'100'000), "https://a/1");
}

TEST(UrlProviderAhead, RenewalsInTimeAreNoRefusals) {
  Issuer issuer(5000);
  for (int i = 1; i < 20; ++i) EXPECT_EQ(issuer.at(i * 4000), "https://a/" + std::to_string(i));
  EXPECT_TRUE(issuer.urls->renew(issuer.urls->current().generation));
}

TEST(UrlProviderAhead, LifelessAndUndatedUrlsAreLeftToTheStore) {
  for (const std::int64_t life_ms : {0, -60'000}) {
    Issuer issuer(life_ms);
    for (int i = 0; i < 100; ++i) issuer.at(i * 1000);
    EXPECT_EQ(issuer.given, 1);
  }
  UrlProvider undated(SecretUrl("https://a/1"), []() -> DatedUrl { throw Error("internal", "asked"); });
  EXPECT_EQ(undated.for_request().url.printable(), "https://a/1");
}

TEST(UrlProviderAhead, VeryShortLivesDoNotMeanARenewalForEachRequest) {
  Issuer issuer(10);
  for (int ms = 0; ms < 1000; ++ms) issuer.at(ms);
  EXPECT_LE(issuer.given, 5);
}

TEST(UrlProviderAhead, ReplacedUrlStartsALifeOfItsOwn) {
  Issuer issuer(5000);
  issuer.now = 3000;
  issuer.urls->replace({SecretUrl("https://a/lease"), 13'000});
  EXPECT_EQ(issuer.at(11'999), "https://a/lease");
  EXPECT_EQ(issuer.at(12'000), "https://a/1");
}

TEST(UrlProviderAhead, OthersGoOnWhileOneAsks) {
  std::promise<void> asked, answer;
  std::int64_t now = 0;
  UrlProvider urls(
      {SecretUrl("https://a/1"), 5000},
      [&]() -> DatedUrl {
        asked.set_value();
        answer.get_future().wait();
        return {SecretUrl("https://a/2"), 9500};
      },
      [&] { return now; });
  now = 4500;
  std::string first;
  std::thread one([&] { first = urls.for_request().url.printable(); });
  asked.get_future().wait();
  EXPECT_EQ(urls.for_request().url.printable(), "https://a/1");
  answer.set_value();
  one.join();
  EXPECT_EQ(first, "https://a/2");
}

}  // namespace
}  // namespace tb::blob
