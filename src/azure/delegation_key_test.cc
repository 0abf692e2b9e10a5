// Delegation keys: what is one, how long one serves, and what a store that does not answer changes. spec: wire 1.5
#include "azure/delegation_key.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "azure/token_server_test.h"
#include "base/crypto.h"

namespace tb::azure {
namespace {

constexpr UnixMs kNow = 1800000000'000;
constexpr std::int64_t kHour = 3600'000;

std::string xml_of(UnixMs start, UnixMs expiry) {
  return fmt::format(
      "\xEF\xBB\xBF<?xml version=\"1.0\" encoding=\"utf-8\"?><UserDelegationKey><SignedOid>oid-1</SignedOid>"
      "<SignedTid>tid-1</SignedTid><SignedStart>{}</SignedStart><SignedExpiry>{}</SignedExpiry>"
      "<SignedService>b</SignedService><SignedVersion>2022-11-02</SignedVersion><Value>{}</Value>"
      "</UserDelegationKey>",
      to_rfc3339(start), to_rfc3339(expiry), to_base64(Bytes(32, 9)));
}

std::string changed(std::string_view from, std::string_view to) {
  std::string xml = xml_of(kNow, kNow + kHour);
  const std::size_t at = xml.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return xml.replace(at, from.size(), to);
}

TEST(DelegationKeyAnswer, IsTakenWholeOrNotAtAll) {
  const auto key = parse_delegation_key(xml_of(kNow, kNow + kHour));
  ASSERT_TRUE(key);
  EXPECT_EQ(key->oid, "oid-1");
  EXPECT_EQ(key->tid, "tid-1");
  EXPECT_EQ(key->start, to_rfc3339(kNow));
  EXPECT_EQ(key->expires_at, kNow + kHour);
  EXPECT_EQ(key->version, "2022-11-02");
  EXPECT_EQ(key->value.reveal(), std::string(32, 9));
  for (const auto& [from, to] : std::vector<std::pair<std::string, std::string>>{
           {"<SignedOid>oid-1</SignedOid>", ""},
           {"<SignedOid>oid-1</SignedOid>", "<SignedOid>a</SignedOid><SignedOid>b</SignedOid>"},
           {"oid-1", "a b"},
           {"oid-1", "a&#10;b"},
           {"oid-1", "<b>x</b>y"},
           {"oid-1", std::string(300, 'x')},
           {to_rfc3339(kNow + kHour), "tomorrow"},
           {"<SignedService>b", "<SignedService>q"},
           {"<Value>", "<Value>!"},
           {to_base64(Bytes(32, 9)), to_base64(Bytes(8, 9))},
           {"</UserDelegationKey>", ""},
           {"<UserDelegationKey>", "<Error>"}}) {
    EXPECT_FALSE(parse_delegation_key(changed(from, to))) << from << " -> " << to;
  }
  EXPECT_FALSE(parse_delegation_key(""));
  EXPECT_FALSE(parse_delegation_key(xml_of(kNow, kNow + kHour) + std::string(20000, ' ')));
}

class DelegationKeysTest : public testing::Test {
 protected:
  DelegationKeysTest() { give(4 * kHour); }
  void give(std::int64_t life_ms) { store_.answer(200, xml_of(now_ - 900'000, now_ + life_ms)); }
  std::string outcome(std::int64_t life_ms) {
    try {
      return keys_.key_for(now_ + life_ms)->oid;
    } catch (const Error& error) {
      EXPECT_TRUE(error.retryable());
      return error.reason;
    }
  }

  UnixMs now_ = kNow;
  TokenServer login_, store_;
  TokenSource tokens_{{.kind = Credential::Kind::kManagedIdentity, .identity_endpoint = login_.origin() + "/x"}, ""};
  DelegationKeys keys_{store_.origin() + "/acct", tokens_, "", [this] { return now_; }};
};

TEST_F(DelegationKeysTest, OneIsAskedForAndKeptUntilHalfOfItsLifeIsOver) {
  EXPECT_EQ(outcome(kHour), "oid-1");
  EXPECT_EQ(store_.last_path(), "/acct/?restype=service&comp=userdelegationkey");
  EXPECT_EQ(store_.last_header("Authorization"), "Bearer token-1");
  EXPECT_EQ(store_.last_header("x-ms-version"), kServiceVersion);
  EXPECT_THAT(store_.last_body(),
              testing::HasSubstr("<Start>2027-01-15T07:45:00Z</Start><Expiry>2027-01-15T12:00:00Z</Expiry>"));
  now_ += 2 * kHour - 1;
  EXPECT_EQ(outcome(kHour), "oid-1");
  EXPECT_EQ(store_.requests(), 1);
  now_ += 1;
  give(4 * kHour);
  EXPECT_EQ(outcome(kHour), "oid-1");
  EXPECT_EQ(store_.requests(), 2);
}

TEST_F(DelegationKeysTest, AStoreThatDoesNotAnswerIsNoTroubleWhileTheKeyServes) {
  EXPECT_EQ(outcome(kHour), "oid-1");
  store_.answer(503, "");
  now_ += 2 * kHour;
  EXPECT_EQ(outcome(kHour), "oid-1");
  EXPECT_EQ(outcome(kHour), "oid-1");
  EXPECT_EQ(store_.requests(), 2) << "asked again no sooner than a minute later";
  now_ += 61'000;
  EXPECT_EQ(outcome(kHour), "oid-1");
  EXPECT_EQ(store_.requests(), 3);
  now_ += kHour + 1;
  EXPECT_EQ(outcome(kHour), "store_unavailable") << "what it would sign outlives the key";
  now_ += 1000;
  give(4 * kHour);
  EXPECT_EQ(outcome(kHour), "oid-1") << "recovered";
}

TEST_F(DelegationKeysTest, WithoutAKeyAFailureIsToldAndRememberedForASecond) {
  store_.answer(403, "<Error/>");
  EXPECT_EQ(outcome(kHour), "store_unavailable");
  EXPECT_EQ(outcome(kHour), "store_unavailable");
  EXPECT_EQ(store_.requests(), 1);
  now_ += 1000;
  store_.answer(200, "no xml");
  EXPECT_EQ(outcome(kHour), "store_unavailable");
  now_ += 1000;
  give(kHour / 2);
  EXPECT_EQ(outcome(kHour), "store_unavailable") << "ends before what it would sign";
  now_ += 1000;
  login_.answer(400, "");
  EXPECT_EQ(outcome(kHour), "store_unavailable");
  now_ += 1000;
  login_.answer(200, R"({"access_token":"t"})");
  give(4 * kHour);
  EXPECT_EQ(outcome(kHour), "oid-1");
}

}  // namespace
}  // namespace tb::azure
