// The verbs of `keys`, and what of their arguments is refused.
#include "sentinel/keys_command.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.h"
#include "base/json.h"
#include "sentinel/api_keys.h"

namespace tb::sentinel {
namespace {

class KeysCommand : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "/keys-command-XXXXXX";
    dir_ = mkdtemp(pattern.data());
    path_ = dir_ + "/state/api-keys";
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  std::string said(const std::vector<std::string>& arguments) {
    testing::internal::CaptureStdout();
    EXPECT_EQ(keys_command(arguments, path_), 0);
    std::fflush(stdout);
    return testing::internal::GetCapturedStdout();
  }
  std::string dir_, path_;
};

TEST_F(KeysCommand, AKeyIsAddedWithItsLimitsAndChangedLater) {
  const std::string line =
      said({"add", "alice", "--requests-per-minute", "60", "--tokens-per-minute", "9000", "--concurrent", "2",
            "--token-budget", "5000", "--expires", "2030-01-01T00:00:00Z", "--json"});
  const auto added = Json::parse(line);
  ASSERT_TRUE(added);
  const std::string id = added->find("id")->as_string();
  EXPECT_EQ(added->find("sha256"), nullptr);
  EXPECT_EQ(added->find("limits")->dump(),
            R"({"requests_per_minute":60,"tokens_per_minute":9000,"concurrent_requests":2,"token_budget":5000})");
  const auto found = ApiKeys(path_).check(added->find("key")->as_string());
  ASSERT_TRUE(found);
  EXPECT_EQ(to_rfc3339(found->expires.value()), "2030-01-01T00:00:00Z");

  said({"limits", id, "--concurrent", "none", "--requests-per-minute", "120", "--expires", "none"});
  const ApiKey changed = read_api_keys(path_).at(0);
  EXPECT_EQ(changed.limits, (KeyLimits{.requests_per_minute = 120, .tokens_per_minute = 9000, .token_budget = 5000}));
  EXPECT_FALSE(changed.expires);
  EXPECT_EQ(changed.sha256, found->sha256) << "the key is the same";
  EXPECT_NE(said({"list"}).find("requests-per-minute=120"), std::string::npos);
  EXPECT_EQ(Json::parse(said({"list", "--json"}))->find("id")->as_string(), id);
  said({"revoke", id});
  EXPECT_TRUE(read_api_keys(path_).empty());
}

TEST_F(KeysCommand, ADurationCountsFromNow) {
  said({"add", "alice", "--expires", "30d"});
  const UnixMs expires = read_api_keys(path_).at(0).expires.value();
  EXPECT_NEAR(static_cast<double>(expires - unix_ms_now()), 30.0 * 86'400'000, 3'600'000);
}

TEST_F(KeysCommand, WhatIsNotUnderstoodChangesNothing) {
  said({"add", "alice"});
  const std::string id = read_api_keys(path_).at(0).id;
  for (const std::vector<std::string>& arguments : {std::vector<std::string>{},
                                                    {"add"},
                                                    {"add", "--json"},
                                                    {"add", "bob", "--limit"},
                                                    {"add", "bob", "--requests-per-minute"},
                                                    {"add", "bob", "--speed", "1"},
                                                    {"limits", id},
                                                    {"limits", id, "--json"},
                                                    {"limits", id, "--status"},
                                                    {"limits", id, "--status", "--concurrent", "1"},
                                                    {"list", "all"},
                                                    {"revoke"},
                                                    {"revoke", id, id},
                                                    {"forget", id}}) {
    EXPECT_EQ(keys_command(arguments, path_), 2);
  }
  for (const char* value : {"0", "-1", "1.5", "x", "", "1000000000001", "99999999999999999999"}) {
    EXPECT_THROW(keys_command({"add", "bob", "--concurrent", value}, path_), Error) << value;
  }
  EXPECT_THROW(keys_command({"add", "bob", "--expires", "tomorrow"}, path_), Error);
  EXPECT_THROW(keys_command({"limits", "key-none", "--concurrent", "1"}, path_), Error);
  EXPECT_THROW(keys_command({"revoke", "key-none"}, path_), Error);
  EXPECT_EQ(read_api_keys(path_).size(), 1U);
  EXPECT_EQ(read_api_keys(path_).at(0).limits, KeyLimits{});
}

}  // namespace
}  // namespace tb::sentinel
