// spec: wire 1.4. A KEK in a KMS, against a stand-in of ours (transit_server_test.h).
#include "controlplane/transit_kek.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <thread>

#include "base/fs.h"
#include "controlplane/keyring.h"
#include "controlplane/rekey.h"
#include "controlplane/service_test.h"
#include "controlplane/transit_server_test.h"
#include "store/open.h"

namespace tb::controlplane {
namespace {

using Mode = TransitServer::Mode;

template <typename F>
std::string reason_of(F&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.reason;
  }
  return "nothing";
}

constexpr TransitPatience kShort{.connect_ms = 500,
                                 .exchange_ms = 500,
                                 .backoff = {.first_ms = 1, .max_ms = 2, .attempts = 3, .max_retry_after_ms = 5}};

class TransitKekTest : public ServiceTest {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(dir_);
    write_token(token_);
  }
  void write_token(const std::string& token) {
    ASSERT_TRUE(write_file_atomically(dir_ + "/token", token + "\n", 0600, true));
  }
  std::unique_ptr<Kek> kek(const std::string& key = "tb") {
    TransitSource source = value_or_throw(parse_transit(kms_.source(key).substr(8)));
    source.token_file = dir_ + "/token";
    source.kms_namespace = "prod";
    return open_transit_kek(std::move(source), kShort);
  }

  const std::string token_ = "hvs.test-token";
  TransitServer kms_{token_};
};

TEST_F(TransitKekTest, AKeyComesBackForItsOwnRowOnly) {
  const auto one = kek();
  const FileKey key = random_key();
  const std::string row = asset_key_context("t", "m", "aa");
  const Bytes wrapped = one->wrap(row, key);
  EXPECT_EQ(as_text(wrapped).substr(0, 9), "vault:v1:");
  EXPECT_EQ(one->id(), "transit:prod/transit/tb");
  EXPECT_EQ(kms_.last_namespace(), "prod");
  EXPECT_TRUE(equal_constant_time(one->unwrap(row, wrapped).reveal(), key.reveal()));
  EXPECT_EQ(reason_of([&] { one->unwrap(asset_key_context("t", "n", "aa"), wrapped); }), "key_unwrap_failed");
  EXPECT_EQ(reason_of([&] { one->unwrap(asset_key_context("tm", "", "aa"), wrapped); }), "key_unwrap_failed");
  EXPECT_EQ(reason_of([&] { kek("other")->unwrap(row, wrapped); }), "key_unwrap_failed");
  Bytes changed = wrapped;
  changed[20] = changed[20] == 'A' ? 'B' : 'A';
  EXPECT_EQ(reason_of([&] { one->unwrap(row, changed); }), "key_unwrap_failed");
  EXPECT_EQ(reason_of([&] { one->unwrap(row, Bytes(40, 0x80)); }), "key_unwrap_failed");
}

TEST_F(TransitKekTest, EveryFaultOfTheKmsIsWorthARetryAndPasses) {
  const auto one = kek();
  const FileKey key = random_key();
  const Bytes wrapped = one->wrap("row", key);
  const std::vector<std::pair<Mode, std::string>> faults = {
      {Mode::kSealed, "kms_unavailable"}, {Mode::kBusy, "kms_unavailable"},   {Mode::kHuge, "kms_unavailable"},
      {Mode::kSlow, "kms_unavailable"},   {Mode::kNoJson, "kms_unavailable"}, {Mode::kNoData, "kms_unavailable"},
      {Mode::kForbidden, "kms_refused"},  {Mode::kNotFound, "kms_refused"}};
  for (const auto& [mode, reason] : faults) {
    kms_.set(mode);
    const int before = kms_.requests();
    for (int direction = 0; direction < 2; ++direction) {
      try {
        direction == 0 ? static_cast<void>(one->unwrap("row", wrapped)) : static_cast<void>(one->wrap("row", key));
        ADD_FAILURE() << "mode " << static_cast<int>(mode);
      } catch (const Error& error) {
        EXPECT_EQ(error.reason, reason) << static_cast<int>(mode) << ": " << error.story();
        EXPECT_TRUE(error.retryable());
        EXPECT_EQ(error.http_status(), 503);
        EXPECT_EQ(error.story().find(to_base64(key.reveal())), std::string::npos);
        EXPECT_EQ(error.story().find(token_), std::string::npos);
      }
    }
    EXPECT_EQ(kms_.requests() - before, reason == "kms_refused" ? 2 : 6)
        << "attempts in mode " << static_cast<int>(mode);
    kms_.set(Mode::kWorks);
    EXPECT_TRUE(equal_constant_time(one->unwrap("row", wrapped).reveal(), key.reveal()));
  }
}

TEST_F(TransitKekTest, ADeadKmsHoldsOneRequestOnly) {
  const auto one = kek();
  const Bytes wrapped = one->wrap("row", random_key());
  kms_.set(Mode::kSealed);
  EXPECT_EQ(reason_of([&] { one->unwrap("row", wrapped); }), "kms_unavailable");
  std::string second;
  const int before = kms_.requests();
  kms_.on_request([&] {
    if (second.empty()) second = reason_of([&] { one->unwrap("row", wrapped); });
  });
  EXPECT_EQ(reason_of([&] { one->unwrap("row", wrapped); }), "kms_unavailable");
  EXPECT_EQ(second, "kms_unavailable");
  EXPECT_EQ(kms_.requests() - before, 3) << "the second one asked nothing";
}

TEST_F(TransitKekTest, TheTokenIsReadAnewAndMustBeThePrivateFileOfOne) {
  const auto one = kek();
  write_token("expired");
  EXPECT_EQ(reason_of([&] { one->wrap("row", random_key()); }), "kms_refused");
  write_token(token_);
  EXPECT_EQ(reason_of([&] { one->wrap("row", random_key()); }), "nothing");
  write_token("two words");
  EXPECT_EQ(reason_of([&] { one->wrap("row", random_key()); }), "kms_refused");
  write_token(token_);
  ASSERT_EQ(chmod((dir_ + "/token").c_str(), 0644), 0);
  EXPECT_EQ(reason_of([&] { one->wrap("row", random_key()); }), "kms_refused");
}

TEST_F(TransitKekTest, AuthorizeAnswers503WhileTheKmsIsDownAndTakesNoSeat) {
  rekey(KekSet(kek(), {[] { return kek_from_hex(std::string(64, '1')); }}), *store_);
  const Keyring keyring(kek(), *store_);
  Deps deps = deps_with(keyring);
  router_ = make_router(deps);
  register_asset("m");
  Json terms = Json::object();
  terms.set("key_release", "plain");
  const std::string token = create_contract("c", terms);
  const Json first = authorize_body("c");

  kms_.set(Mode::kSealed);
  const auto refused = authorize(token, first);
  EXPECT_EQ(refused.status, 503) << refused.body;
  EXPECT_EQ(text_of(refused, "code"), "kms_unavailable");
  EXPECT_TRUE(store_->list_leases("t1", "c", "", 10).empty());

  kms_.set(Mode::kWorks);
  const auto released = authorize(token, first);
  ASSERT_EQ(released.status, 200) << released.body;
  EXPECT_EQ(text_of(released, "decryption_key_hex"), to_hex(key_.reveal()));

  kms_.set(Mode::kSealed);
  Json renewal = first;
  renewal.set("lease_id", text_of(released, "lease_id"));
  const int before = kms_.requests();
  EXPECT_EQ(authorize(token, renewal).status, 200) << "a renewal without a key asks nothing of the KMS";
  EXPECT_EQ(kms_.requests(), before);
  router_ = make_router(deps_);
}

TEST(ParseTransit, OnlyAnOriginAMountAndAKey) {
  EXPECT_EQ(parse_transit("https://[::1]:8200/a/b/c")->mount, "a/b");
  EXPECT_TRUE(parse_transit("http://[::1]:8200/a/b"));
  EXPECT_TRUE(parse_transit("http://127.0.0.1:8200/a/b"));
  for (const auto* bad : {"",
                          "x",
                          "ftp://h/a/b",
                          "http://kms.example/a/b",
                          "https://",
                          "https:///a/b",
                          "https://h",
                          "https://h/",
                          "https://h/a",
                          "https://h/a/",
                          "https://h//a",
                          "https://h/../b",
                          "https://../a/b",
                          "https://.h/a/b",
                          "https://h./a/b",
                          "https://[zz]/a/b",
                          "https://h/../b",
                          "https://../a/b",
                          "https://.h/a/b",
                          "https://h./a/b",
                          "https://[zz]/a/b",
                          "https://u:p@h/a/b",
                          "http://[::1/a/b",
                          "https://[::1]x/a/b",
                          "https://h:/a/b",
                          "https://h:x/a/b",
                          "https://:1/a/b",
                          "https://h/a/b?c",
                          "https://h/a/b#c",
                          "https://h/a/%62",
                          "https://h/a b/c"}) {
    const auto parsed = parse_transit(bad);
    EXPECT_FALSE(parsed) << bad;
    if (!parsed) EXPECT_EQ(parsed.error().reason, "config_invalid");
  }
}

}  // namespace
}  // namespace tb::controlplane
