#include "sentinel/api_keys.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

#include "base/error.h"
#include "base/fs.h"

namespace tb::sentinel {
namespace {

class ApiKeysTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "/api-keys-XXXXXX";
    dir_ = mkdtemp(pattern.data());
    path_ = dir_ + "/api-keys";
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  std::string dir_, path_;
};

TEST_F(ApiKeysTest, AddedKeysAreKnownAndOthersAreNot) {
  const NewApiKey added = add_api_key(path_, "alice", true, false, 0);
  ApiKeys keys(path_);
  const auto found = keys.check(added.key.reveal());
  ASSERT_TRUE(found);
  EXPECT_EQ(found->id, added.entry.id);
  EXPECT_TRUE(found->may_infer);
  EXPECT_FALSE(found->may_see_status);
  EXPECT_FALSE(keys.check(""));
  EXPECT_FALSE(keys.check(added.key.reveal() + "x"));
  EXPECT_FALSE(keys.check(added.key.reveal().substr(1)));
  EXPECT_FALSE(keys.check(added.entry.sha256)) << "the stored hash is no key";
  EXPECT_FALSE(keys.check(std::string(10000, 'a')));
}

TEST_F(ApiKeysTest, TheFileHoldsNoKeyAndIsPrivate) {
  const NewApiKey added = add_api_key(path_, "alice", true, true, 0);
  EXPECT_EQ(read_small_file(path_).value().find(added.key.reveal()), std::string::npos);
  struct stat info{};
  ASSERT_EQ(stat(path_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0600U);
}

TEST_F(ApiKeysTest, RevokedKeysAreRefused) {
  const NewApiKey one = add_api_key(path_, "one", true, false, 0);
  const NewApiKey two = add_api_key(path_, "two", true, false, 0);
  revoke_api_key(path_, one.entry.id);
  EXPECT_THROW(revoke_api_key(path_, one.entry.id), Error);
  ApiKeys keys(path_);
  EXPECT_FALSE(keys.check(one.key.reveal()));
  EXPECT_TRUE(keys.check(two.key.reveal()));
}

TEST_F(ApiKeysTest, FirstStartMakesOneKeyOnce) {
  const auto shown = make_first_api_key(path_, dir_, 0);
  ASSERT_TRUE(shown);
  auto key = read_secret_file(*shown);
  ASSERT_TRUE(key);
  std::string text = key->reveal();
  ASSERT_TRUE(text.ends_with('\n'));
  text.pop_back();
  const auto found = ApiKeys(path_).check(text);
  ASSERT_TRUE(found);
  EXPECT_TRUE(found->may_see_status);
  EXPECT_FALSE(make_first_api_key(path_, dir_, 0));
  EXPECT_EQ(read_api_keys(path_).size(), 1U);
}

TEST_F(ApiKeysTest, LimitsAndAnEndAreKeptAndChanged) {
  const KeyLimits limits{
      .requests_per_minute = 60, .tokens_per_minute = 1000, .concurrent_requests = 4, .token_budget = 1'000'000};
  const NewApiKey added =
      add_api_key(path_, {.name = "alice", .created = 0, .limits = limits, .expires = 4'000'000'000'000});
  const auto found = ApiKeys(path_).check(added.key.reveal());
  ASSERT_TRUE(found);
  EXPECT_EQ(found->limits, limits);
  EXPECT_EQ(found->expires, 4'000'000'000'000);
  const auto to_one_at_once = [](ApiKey& key) {
    key.limits = {.concurrent_requests = 1};
    key.expires.reset();
    key.may_see_status = true;  // not its business
    return true;
  };
  EXPECT_EQ(change_api_key(path_, added.entry.id, to_one_at_once).limits.token_budget, std::nullopt);
  const auto changed = ApiKeys(path_).check(added.key.reveal());
  ASSERT_TRUE(changed);
  EXPECT_EQ(changed->limits, (KeyLimits{.concurrent_requests = 1}));
  EXPECT_FALSE(changed->expires);
  EXPECT_FALSE(changed->may_see_status);
  EXPECT_THROW(change_api_key(path_, "key-none", to_one_at_once), Error);
  change_api_key(path_, added.entry.id, [](ApiKey& key) {
    key.limits = {};
    return false;
  });
  EXPECT_EQ(read_api_keys(path_).at(0).limits, (KeyLimits{.concurrent_requests = 1}));
}

TEST_F(ApiKeysTest, EachOfManyIsFoundAndIsItself) {
  std::vector<NewApiKey> added;
  for (int i = 0; i < 20; ++i) added.push_back(add_api_key(path_, "many", true, false, 0));
  const ApiKeys keys(path_);
  for (const NewApiKey& one : added) {
    const auto found = keys.check(one.key.reveal());
    ASSERT_TRUE(found);
    EXPECT_EQ(found->id, one.entry.id);
  }
  EXPECT_FALSE(keys.check("tbk-" + std::string(43, 'A')));
}

TEST_F(ApiKeysTest, AKeyEndsAtItsTime) {
  const UnixMs now = unix_ms_now();
  const NewApiKey over = add_api_key(path_, {.name = "over", .created = 0, .expires = now - 1000});
  const NewApiKey good = add_api_key(path_, {.name = "good", .created = 0, .expires = now + 3'600'000});
  const ApiKeys keys(path_);
  EXPECT_FALSE(keys.check(over.key.reveal()));
  EXPECT_TRUE(keys.check(good.key.reveal()));
}

TEST_F(ApiKeysTest, LinesOfBeforeLimitsAreStillRead) {
  const std::string line = R"({"id":"key-1","name":"a","sha256":")" + std::string(64, 'a') +
                           R"(","rights":["infer"],"created":"2026-11-22T08:09:05Z"})";
  ASSERT_TRUE(write_file_atomically(path_, line + "\n", 0600, true));
  const auto keys = read_api_keys(path_);
  ASSERT_EQ(keys.size(), 1U);
  EXPECT_EQ(keys[0].limits, KeyLimits{});
  EXPECT_EQ(to_json(keys[0]).dump(), line) << "and written as they were";
}

TEST_F(ApiKeysTest, LimitsThatAreNoneAreRefused) {
  for (const char* limits : {R"({"requests_per_minute":0})", R"({"requests_per_minute":-1})",
                             R"({"requests_per_minute":1.5})", R"({"requests_per_minute":"60"})",
                             R"({"request_per_minute":60})", R"({"token_budget":1000000000001})", "[]", "60"}) {
    EXPECT_THROW(key_limits_from_json(Json::parse(limits).value()), Error) << limits;
    const std::string line = R"({"id":"key-1","name":"a","sha256":")" + std::string(64, 'a') +
                             R"(","rights":["infer"],"created":"2026-11-22T08:09:05Z","limits":)" + limits + "}\n";
    ASSERT_TRUE(write_file_atomically(path_, line, 0600, true));
    EXPECT_THROW(read_api_keys(path_), Error) << limits;
  }
}

TEST_F(ApiKeysTest, CommandsAtOnceLoseNoKey) {
  std::vector<std::jthread> writers;
  for (int i = 0; i < 4; ++i) {
    writers.emplace_back([this] {
      for (int n = 0; n < 5; ++n) add_api_key(path_, "a", true, false, 0);
    });
  }
  writers.clear();
  EXPECT_EQ(read_api_keys(path_).size(), 20U);
}

TEST_F(ApiKeysTest, AChangeOfTheFileIsSeenWithoutARequestWaitingForIt) {
  const ApiKeys keys(path_);
  const NewApiKey added = add_api_key(path_, "alice", true, false, 0);
  const auto within = [&](bool known) {
    const std::int64_t deadline = boot_ms_now() + 60'000;
    while (bool(keys.check(added.key.reveal())) != known && boot_ms_now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    return bool(keys.check(added.key.reveal())) == known;
  };
  EXPECT_TRUE(within(true));
  const auto entry = keys.check(added.key.reveal());
  revoke_api_key(path_, added.entry.id);
  EXPECT_TRUE(within(false));
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->id, added.entry.id) << "whoever holds an entry keeps it";
}

TEST_F(ApiKeysTest, NobodyGetsInByAFileThatCannotBeTrusted) {
  const NewApiKey added = add_api_key(path_, "alice", true, false, 0);
  ASSERT_EQ(chmod(path_.c_str(), 0644), 0);
  EXPECT_THROW(read_api_keys(path_), Error);
  EXPECT_FALSE(ApiKeys(path_).check(added.key.reveal()));
  ASSERT_TRUE(write_file_atomically(path_, "{\"id\":1}\n", 0600, true));
  EXPECT_THROW(read_api_keys(path_), Error);
  EXPECT_FALSE(ApiKeys(path_).check(added.key.reveal()));
  EXPECT_FALSE(ApiKeys(dir_ + "/absent").check(added.key.reveal()));
}

}  // namespace
}  // namespace tb::sentinel
