#include "sentinel/api_keys.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

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
