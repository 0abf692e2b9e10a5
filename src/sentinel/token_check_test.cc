// What is remembered of tokens, for how long, and how much work garbage can cause.
#include "sentinel/token_check.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "jose/signing_test.h"

namespace tb::sentinel {
namespace {

using namespace jose::testing_keys;
constexpr UnixMs kNow = 1'800'000'000'000;

std::shared_ptr<const jose::VerifyKeySet> set_of(const Key& key) {
  Json jwk = jwk_of(key.get());
  jwk.set("kid", "k");
  return std::make_shared<const jose::VerifyKeySet>(jose::VerifyKeySet::parse(R"({"keys":[)" + jwk.dump() + "]}"));
}

std::string token_of(const Key& key, std::string_view subject, std::int64_t expires = 1'800'000'300) {
  return compact(R"({"alg":"ES256","kid":"k"})",
                 fmt::format(R"({{"iss":"i","aud":"a","sub":"{}","exp":{}}})", subject, expires), key.get(), "ES256");
}

class TokenCheckTest : public testing::Test {
 protected:
  Key key_ = make_p256();
  std::shared_ptr<const jose::VerifyKeySet> keys_ = set_of(key_);
  TokenCheck check_{{.issuer = "i", .audience = "a", .scope = ""},
                    [this] { return keys_; },
                    {.remembered = 3, .failures_per_second = 5}};
};

TEST_F(TokenCheckTest, ASignatureIsCheckedOnceForEachToken) {
  const std::string token = token_of(key_, "alice");
  for (int i = 0; i < 100; ++i) {
    const auto user = check_.check(token, kNow, 0);
    ASSERT_TRUE(user);
    EXPECT_EQ((*user)->subject, "alice");
  }
  EXPECT_EQ(check_.signatures_checked(), 1U);
}

TEST_F(TokenCheckTest, AnEndIsAnEndForTheRememberedToo) {
  const std::string token = token_of(key_, "alice");
  EXPECT_TRUE(check_.check(token, kNow, 0));
  EXPECT_TRUE(check_.check(token, kNow + 359'999, 0));
  EXPECT_FALSE(check_.check(token, kNow + 360'000, 0));
  EXPECT_EQ(check_.remembered(), 0U);
  EXPECT_FALSE(check_.check(token, kNow + 360'000, 0));
}

TEST_F(TokenCheckTest, TheOneThatWasNotUsedForLongestIsForgotten) {
  const std::string a = token_of(key_, "a");
  for (const char* subject : {"a", "b", "c"}) {
    EXPECT_TRUE(check_.check(subject[0] == 'a' ? a : token_of(key_, subject), kNow, 0));
  }
  EXPECT_TRUE(check_.check(a, kNow, 0));
  EXPECT_TRUE(check_.check(token_of(key_, "d"), kNow, 0));
  EXPECT_EQ(check_.remembered(), 3U);
  const auto before = check_.signatures_checked();
  EXPECT_TRUE(check_.check(a, kNow, 0));
  EXPECT_EQ(check_.signatures_checked(), before) << "a was used, so b went";
}

TEST_F(TokenCheckTest, AnotherKeySetForgetsWhatTheOldOneVerified) {
  const std::string token = token_of(key_, "alice");
  EXPECT_TRUE(check_.check(token, kNow, 0));
  keys_ = set_of(make_p256());
  EXPECT_FALSE(check_.check(token, kNow, 0));
  EXPECT_EQ(check_.remembered(), 0U);
  keys_ = nullptr;
  EXPECT_EQ(check_.check(token, kNow, 0).error(), TokenFault::kBusy);
}

TEST_F(TokenCheckTest, GarbageIsBoundedAndWhoIsKnownIsServedMeanwhile) {
  const std::string known = token_of(key_, "alice");
  EXPECT_TRUE(check_.check(known, kNow, 0));
  const Key other = make_p256();
  int busy = 0;
  for (int i = 0; i < 50; ++i) {
    const auto user = check_.check(token_of(other, std::to_string(i)), kNow, 0);
    ASSERT_FALSE(user);
    busy += user.error() == TokenFault::kBusy ? 1 : 0;
  }
  EXPECT_EQ(busy, 45);
  EXPECT_EQ(check_.signatures_checked(), 1U + 5U);
  EXPECT_TRUE(check_.check(known, kNow, 0));
  EXPECT_EQ(check_.check(token_of(key_, "new"), kNow, 0).error(), TokenFault::kBusy);
  EXPECT_TRUE(check_.check(token_of(key_, "new"), kNow, 200)) << "a fifth of a second later";
}

TEST_F(TokenCheckTest, TokensThatVerifyCostNothingOfThatBound) {
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(check_.check(token_of(key_, std::to_string(i)), kNow, 0));
}

}  // namespace
}  // namespace tb::sentinel
