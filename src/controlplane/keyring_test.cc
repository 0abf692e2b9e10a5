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
  EXPECT_EQ(first.wrapping_keys().at(0).key, second.wrapping_keys().at(0).key);
  EXPECT_TRUE(equal_constant_time(first.url_key().reveal(), second.url_key().reveal()));
  EXPECT_EQ(first.url_kid(), second.url_kid());
}

TEST_F(KeyringTest, WrappingKeysAreReplacedWithoutARestart) {
  const Keyring console(kek_from_hex(kHex), *store_), service(kek_from_hex(kHex), *store_);
  const auto kids = [&] {
    std::vector<std::string> out;
    for (const auto& one : service.wrapping_keys()) out.push_back(one.key.thumbprint());
    return out;
  };
  const std::string first = kids().at(0);
  EXPECT_EQ(reason_of([&] { console.retire_wrapping_key(first); }), "wrapping_key_last");
  const std::string second = console.add_wrapping_key(1800000000000).key.thumbprint();
  const std::string third = console.add_wrapping_key(1800000000001).key.thumbprint();
  EXPECT_EQ(reason_of([&] { console.add_wrapping_key(1800000000001); }), "database_busy");
  EXPECT_EQ(kids(), (std::vector<std::string>{third, second, first})) << "the newest stands first";
  EXPECT_EQ(service.wrapping_keys()[0].made_at, 1800000000001);
  EXPECT_EQ(service.wrapping_keys()[2].made_at, 0);
  for (const auto& kid : kids()) EXPECT_EQ(service.wrapping_key(kid)->public_key().thumbprint(), kid);
  console.retire_wrapping_key(first);
  console.retire_wrapping_key(third);
  EXPECT_EQ(reason_of([&] { console.retire_wrapping_key(third); }), "not_found");
  EXPECT_EQ(reason_of([&] { console.retire_wrapping_key(second); }), "wrapping_key_last");
  EXPECT_FALSE(service.wrapping_key(first));
  // No start brings the first one back.
  const Keyring restarted(kek_from_hex(kHex), *store_);
  EXPECT_EQ(restarted.wrapping_keys().size(), 1U);
  EXPECT_EQ(restarted.wrapping_keys()[0].key.thumbprint(), second);
  EXPECT_EQ(restarted.identity().public_key(), service.identity().public_key());
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
