// An issuer's key set that comes, changes, breaks and goes.
#include "sentinel/token_keys.h"

#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <functional>

#include "base/clock.h"
#include "base/error.h"
#include "base/fs.h"
#include "jose/signing_test.h"

namespace tb::sentinel {
namespace {

using namespace jose::testing_keys;

std::string set_text(std::string_view kid) {
  Json jwk = jwk_of(make_ed25519().get());
  jwk.set("kid", kid);
  return R"({"keys":[)" + jwk.dump() + "]}";
}

bool within(const std::function<bool()>& is) {
  const std::int64_t deadline = boot_ms_now() + 60'000;
  while (!is() && boot_ms_now() < deadline) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  return is();
}

/// An issuer whose answer the test changes.
class Issuer {
 public:
  TokenKeys::Fetch fetch() {
    return [this] {
      ++asked;
      const std::scoped_lock lock(mutex_);
      if (text_.empty()) throw Error("network_unreachable", "the issuer is away");
      return text_;
    };
  }
  void says(std::string text) {
    const std::scoped_lock lock(mutex_);
    text_ = std::move(text);
  }
  std::atomic<int> asked = 0;

 private:
  std::mutex mutex_;
  std::string text_;
};

bool has(const TokenKeys& keys, std::string_view kid) {
  const auto set = keys.current();
  return set && set->find(kid) != nullptr;
}

constexpr TokenKeys::Times kQuick{
    .refresh_ms = 5, .retry_first_ms = 5, .retry_most_ms = 10, .between_unknown_ms = 5, .keep_ms = 3'600'000};

TEST(TokenKeys, AreFetchedAndFollowTheIssuer) {
  Issuer issuer;
  issuer.says(set_text("one"));
  const TokenKeys keys(issuer.fetch(), kQuick, {});
  EXPECT_TRUE(within([&] { return has(keys, "one"); }));
  const auto first = keys.current();
  const int asked = issuer.asked;
  EXPECT_TRUE(within([&] { return issuer.asked > asked + 2; }));
  EXPECT_EQ(keys.current(), first) << "the same set is the same pointer";
  issuer.says(set_text("two"));
  EXPECT_TRUE(within([&] { return has(keys, "two"); }));
  EXPECT_FALSE(has(keys, "one")) << "withdrawn";
}

TEST(TokenKeys, AnIssuerThatIsAwayOrSaysNonsenseChangesNothing) {
  Issuer issuer;
  const TokenKeys keys(issuer.fetch(), kQuick, {});
  EXPECT_TRUE(within([&] { return issuer.asked > 3; }));
  EXPECT_FALSE(keys.current());
  issuer.says(set_text("one"));
  EXPECT_TRUE(within([&] { return has(keys, "one"); }));
  for (const char* text : {"", "{", "<html>", R"({"keys":[]})", R"({"keys":[{"kty":"oct","k":"AA","kid":"x"}]})"}) {
    issuer.says(text);
    const int asked = issuer.asked;
    EXPECT_TRUE(within([&] { return issuer.asked > asked + 2; }));
    EXPECT_TRUE(has(keys, "one")) << text;
  }
}

TEST(TokenKeys, ASetThatIsTooOldGoes) {
  Issuer issuer;
  issuer.says(set_text("one"));
  TokenKeys::Times times = kQuick;
  times.keep_ms = 300;
  const TokenKeys keys(issuer.fetch(), times, {});
  EXPECT_TRUE(within([&] { return has(keys, "one"); }));
  issuer.says("");
  EXPECT_TRUE(within([&] { return keys.current() == nullptr; }));
  issuer.says(set_text("one"));
  EXPECT_TRUE(within([&] { return has(keys, "one"); })) << "and comes back";
}

TEST(TokenKeys, AnUnknownKeyCausesOneFetchNotMany) {
  Issuer issuer;
  issuer.says(set_text("one"));
  TokenKeys::Times times = kQuick;
  times.refresh_ms = 3'600'000;
  times.between_unknown_ms = 100;
  TokenKeys keys(issuer.fetch(), times, {});
  EXPECT_TRUE(within([&] { return has(keys, "one"); }));
  issuer.says(set_text("two"));
  const std::int64_t began = boot_ms_now();
  EXPECT_TRUE(within([&] {
    keys.ask_for_unknown();
    return has(keys, "two");
  }));
  for (int i = 0; i < 200; ++i) {
    keys.ask_for_unknown();
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  EXPECT_LE(issuer.asked, 2 + (boot_ms_now() - began) / 100);
}

TEST(TokenKeys, ItEndsAtOnceWhileItWaits) {
  Issuer issuer;
  TokenKeys::Times times;
  times.retry_first_ms = times.retry_most_ms = 3'600'000;
  const std::int64_t began = boot_ms_now();
  {
    const TokenKeys keys(issuer.fetch(), times, {});
  }
  EXPECT_LT(boot_ms_now() - began, 1'800'000);
}

TEST(TokenKeys, AFileIsASource) {
  std::string pattern = testing::TempDir() + "/token-keys-XXXXXX";
  const std::string dir = mkdtemp(pattern.data());
  const std::string path = dir + "/keys.json";
  EXPECT_THROW(fetch_keys_from(path, "")(), Error);
  ASSERT_TRUE(write_file_atomically(path, set_text("one"), 0644, true));
  EXPECT_NE(fetch_keys_from(path, "")().find("one"), std::string::npos);
  ASSERT_TRUE(write_file_atomically(path, std::string(jose::kMaxKeySetBytes + 1, ' '), 0644, true));
  EXPECT_THROW(fetch_keys_from(path, "")(), Error);
  EXPECT_THROW(fetch_keys_from("http://192.0.2.1/keys", "")(), Error) << "plain HTTP to others";
  std::filesystem::remove_all(dir);
}

}  // namespace
}  // namespace tb::sentinel
