#include "sentinel/sentinel_key.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "base/crypto.h"
#include "base/fs.h"

namespace tb::sentinel {
namespace {

class SentinelKey : public testing::Test {
 protected:
  SentinelKey() { std::filesystem::create_directories(dir_); }
  ~SentinelKey() override { std::filesystem::remove_all(dir_); }
  std::string reason() const {
    try {
      (void)load_or_make_sentinel_key(path_);
      return "";
    } catch (const Error& error) {
      EXPECT_EQ(error.story().find("\"d\""), std::string::npos);
      return error.reason;
    }
  }
  const std::string dir_ = testing::TempDir() + "tb-sentinel-key-" + random_token(8);
  const std::string path_ = dir_ + "/sentinel-key";
};

TEST_F(SentinelKey, IsMadeOnceAndKeptForItsOwnerAlone) {
  const auto first = load_or_make_sentinel_key(path_);
  const auto again = load_or_make_sentinel_key(path_);
  EXPECT_EQ(first.public_key(), again.public_key());
  EXPECT_TRUE(equal_constant_time(first.scalar().reveal(), again.scalar().reveal()));
  struct stat st{};
  ASSERT_EQ(stat(path_.c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 07777, 0600U);
  ASSERT_EQ(chmod(path_.c_str(), 0640), 0);
  EXPECT_EQ(reason(), "file_mode_unsafe");
}

TEST_F(SentinelKey, ADamagedFileIsRefusedAndNotReplaced) {
  (void)load_or_make_sentinel_key(path_);
  const std::string good = read_small_file(path_).value();
  const auto other = jose::PrivateKey::generate();
  std::string foreign = good;
  const std::size_t at = foreign.find("\"d\":\"") + 5;
  foreign.replace(at, 43, to_base64url(other.scalar().reveal()));
  for (const std::string& bad : {std::string(), std::string("{}"), good.substr(0, good.size() / 2), good + good,
                                 foreign, std::string(5000, ' ')}) {
    ASSERT_TRUE(write_file_atomically(path_, bad, 0600, true));
    EXPECT_NE(reason(), "") << bad.substr(0, 20);
    EXPECT_EQ(read_small_file(path_).value(), bad);
  }
}

}  // namespace
}  // namespace tb::sentinel
