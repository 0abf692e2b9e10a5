// Which credentials let in, whose request it then is, and that refusals tell nothing apart.
#include "sentinel/proxy/access_filter.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

#include "jose/signing_test.h"

namespace tb::sentinel::proxy {
namespace {

using namespace jose::testing_keys;

class AccessFilterTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "/access-XXXXXX";
    dir_ = mkdtemp(pattern.data());
    good_ = add_api_key(dir_ + "/keys", {.name = "a", .created = 0, .limits = {.requests_per_minute = 7}}).key.reveal();
    status_only_ = add_api_key(dir_ + "/keys", "b", false, true, 0).key.reveal();
    keys_.emplace(dir_ + "/keys");
    Json jwk = jwk_of(issuer_.get());
    jwk.set("kid", "k");
    token_keys_.emplace([text = R"({"keys":[)" + jwk.dump() + "]}"] { return text; }, TokenKeys::Times(), obs::Log());
    while (!token_keys_->current()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  std::string token(const Key& key, std::string_view subject = "alice", std::string_view kid = "k") const {
    return compact(fmt::format(R"({{"alg":"EdDSA","kid":"{}"}})", kid),
                   fmt::format(R"({{"iss":"i","aud":"a","sub":"{}","exp":{}}})", subject, unix_ms_now() / 1000 + 300),
                   key.get(), "EdDSA");
  }
  Access all() {
    return {.keys = &*keys_,
            .token_rules = TokenRules{.issuer = "i", .audience = "a", .scope = ""},
            .token_keys = &*token_keys_,
            .certificate_subjects = {"spiffe://acme/batch"}};
  }
  /// Who asks by these means; "401 invalid_api_key" and the like where nobody is let in.
  std::string asked(Filter& filter, const std::string& bearer, const std::string& certificate = "") {
    exchange_ = Exchange();
    if (!bearer.empty()) exchange_.request.fields = {{"Authorization", "Bearer " + bearer}};
    exchange_.peer.certificate_subject = certificate;
    const auto refusal = filter.visit(exchange_)->on_request(exchange_);
    if (!refusal) return exchange_.subject;
    EXPECT_TRUE(exchange_.subject.empty()) << "who is refused is nobody";
    return fmt::format("{} {}", refusal->status, refusal->code);
  }

  std::string dir_, good_, status_only_;
  Key issuer_ = make_ed25519();
  std::optional<ApiKeys> keys_;
  std::optional<TokenKeys> token_keys_;
  obs::Metrics metrics_;
  Exchange exchange_;
};

TEST_F(AccessFilterTest, AnyThatFitsLetsIn) {
  const auto filter = access_filter(all(), metrics_);
  EXPECT_TRUE(asked(*filter, good_).starts_with("key-"));
  EXPECT_EQ(exchange_.limits.requests_per_minute, 7);
  EXPECT_EQ(asked(*filter, token(issuer_)), "jwt:alice");
  EXPECT_EQ(exchange_.limits, KeyLimits{});
  EXPECT_EQ(asked(*filter, "", "spiffe://acme/batch"), "cert:spiffe://acme/batch");
  EXPECT_EQ(asked(*filter, "wrong", "spiffe://acme/batch"), "cert:spiffe://acme/batch");
  EXPECT_EQ(asked(*filter, token(issuer_, "key-00000000")), "jwt:key-00000000") << "nobody else's name";
}

TEST_F(AccessFilterTest, AllRefusalsLookTheSame) {
  const auto filter = access_filter(all(), metrics_);
  for (const std::string& shown :
       {std::string(), std::string("wrong"), status_only_, token(make_ed25519()), token(issuer_, "alice", "other"),
        token(issuer_, ""), std::string("a.b.c"), std::string(100'000, 'a'), std::string(100'000, '.')}) {
    EXPECT_EQ(asked(*filter, shown), "401 invalid_api_key") << shown.substr(0, 80);
  }
  EXPECT_EQ(asked(*filter, "", "spiffe://acme/other"), "401 invalid_api_key");
  const std::string text = metrics_.prometheus_text();
  for (const char* reason : {"no_credential", "key", "certificate", "token_signature", "token_unknown_key",
                             "token_subject", "token_malformed"}) {
    EXPECT_NE(text.find(fmt::format("access_refused_total{{reason=\"{}\"}} ", reason)), std::string::npos) << reason;
  }
  EXPECT_EQ(text.find("access_refused_total{reason=\"token_signature\"} 0"), std::string::npos);
}

TEST_F(AccessFilterTest, WhatIsOffLetsNobodyIn) {
  const auto keys_only = access_filter({.keys = &*keys_}, metrics_);
  EXPECT_TRUE(asked(*keys_only, good_).starts_with("key-"));
  EXPECT_EQ(asked(*keys_only, token(issuer_)), "401 invalid_api_key");
  EXPECT_EQ(asked(*keys_only, "", "spiffe://acme/batch"), "401 invalid_api_key");
  const auto nothing = access_filter({}, metrics_);
  EXPECT_EQ(asked(*nothing, good_), "401 invalid_api_key");
  EXPECT_EQ(asked(*nothing, ""), "401 invalid_api_key");
}

TEST_F(AccessFilterTest, WithoutTheIssuersKeysATokenIsToComeAgain) {
  TokenKeys none([]() -> std::string { throw Error("network_unreachable", "away"); }, TokenKeys::Times(), obs::Log());
  Access access = all();
  access.token_keys = &none;
  const auto filter = access_filter(access, metrics_);
  EXPECT_EQ(asked(*filter, token(issuer_)), "503 try_again");
  EXPECT_TRUE(asked(*filter, good_).starts_with("key-")) << "keys are as good as before";
}

TEST_F(AccessFilterTest, EverybodyIsEverybody) {
  const auto filter = access_filter({.everybody = true}, metrics_);
  EXPECT_EQ(asked(*filter, ""), "anonymous");
  EXPECT_EQ(asked(*filter, "wrong"), "anonymous");
}

}  // namespace
}  // namespace tb::sentinel::proxy
