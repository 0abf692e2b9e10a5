// spec: wire 1.4
#include "controlplane/keyring.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "base/fs.h"
#include "store/open.h"

namespace tb::controlplane {
namespace {

const std::string kHex(64, '1');

class KeyringTest : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(dir_); }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  const std::string dir_ = testing::TempDir() + "tb-keyring-" + random_token(8);
  std::unique_ptr<store::Store> store_ = store::open_sqlite_store(":memory:");
};

template <typename F>
std::string reason_of(F&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.reason;
  }
  return "nothing";
}

TEST_F(KeyringTest, TheKekFileIsMadeOnceForItsOwnerOnly) {
  const std::string path = dir_ + "/kek";
  const auto first = load_or_create_kek(path, true);
  struct stat info{};
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
  EXPECT_EQ(load_or_create_kek(path, true)->id(), first->id());
  ASSERT_EQ(chmod(path.c_str(), 0644), 0);
  EXPECT_EQ(reason_of([&] { load_or_create_kek(path, true); }), "file_mode_unsafe");
}

TEST_F(KeyringTest, KeysWithoutTheirKekRefuseTheStart) {
  EXPECT_EQ(reason_of([&] { load_or_create_kek(dir_ + "/none", false); }), "kek_missing");
  EXPECT_FALSE(std::filesystem::exists(dir_ + "/none"));
  {
    const Keyring keyring(kek_from_hex(kHex), *store_);
  }
  EXPECT_EQ(reason_of([&] { const Keyring keyring(kek_from_hex(std::string(64, '2')), *store_); }), "kek_missing");
  EXPECT_EQ(reason_of([] { kek_from_hex("11"); }), "config_invalid");
  ASSERT_TRUE(write_file_atomically(dir_ + "/bad", "zz\n", 0600, false));
  EXPECT_EQ(reason_of([&] { load_or_create_kek(dir_ + "/bad", true); }), "config_invalid");
}

TEST_F(KeyringTest, OwnKeysAreTheSameAfterARestart) {
  const Keyring first(kek_from_hex(kHex), *store_);
  const Keyring second(kek_from_hex(kHex), *store_);
  EXPECT_EQ(first.identity().public_key(), second.identity().public_key());
  EXPECT_EQ(first.wrapping_key().public_key(), second.wrapping_key().public_key());
  EXPECT_TRUE(equal_constant_time(first.url_key().reveal(), second.url_key().reveal()));
  EXPECT_EQ(first.url_kid(), second.url_kid());
}

TEST_F(KeyringTest, WrappedKeysCannotBeSwappedBetweenRows) {
  const Keyring keyring(kek_from_hex(kHex), *store_);
  const FileKey key = random_key();
  const auto wrapped = keyring.wrap("t", "m", "aa", key);
  EXPECT_EQ(wrapped.wrapped.size(), 40U);
  EXPECT_TRUE(equal_constant_time(keyring.unwrap("t", "m", "aa", wrapped).reveal(), key.reveal()));
  EXPECT_EQ(reason_of([&] { keyring.unwrap("u", "m", "aa", wrapped); }), "key_unwrap_failed");
  EXPECT_EQ(reason_of([&] { keyring.unwrap("t", "n", "aa", wrapped); }), "key_unwrap_failed");
  EXPECT_EQ(reason_of([&] { keyring.unwrap("t", "m", "ab", wrapped); }), "key_unwrap_failed");
  // Lengths stand before the parts, so that moving a letter between them is another row.
  EXPECT_EQ(reason_of([&] { keyring.unwrap("tm", "", "aa", wrapped); }), "key_unwrap_failed");
  auto changed = wrapped;
  changed.wrapped[0] ^= 1;
  EXPECT_EQ(reason_of([&] { keyring.unwrap("t", "m", "aa", changed); }), "key_unwrap_failed");
  changed = wrapped;
  changed.kek_id = "other";
  EXPECT_EQ(reason_of([&] { keyring.unwrap("t", "m", "aa", changed); }), "kek_missing");
}

}  // namespace
}  // namespace tb::controlplane
