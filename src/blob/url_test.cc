#include "blob/url.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace tb::blob
