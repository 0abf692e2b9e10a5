#include "sentinel/hw_id.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/crypto.h"
#include "base/fs.h"

namespace tb::sentinel {
namespace {

class HwIdTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "/hw-id-XXXXXX";
    dir_ = mkdtemp(pattern.data());
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  std::string file(const std::string& name, std::string_view text) {
    EXPECT_TRUE(write_file_atomically(dir_ + "/" + name, text, 0600, true));
    return dir_ + "/" + name;
  }
  std::string dir_;
};

TEST_F(HwIdTest, FirstSourceThatSpeaksWins) {
  const HwIdSources sources{"", file("uuid", "4C4C4544-0034\n"), file("machine", "abc\n")};
  EXPECT_EQ(hw_id(sources), sha256_hex("trustbridge hw v1\n4c4c4544-0034"));
  EXPECT_EQ(hw_id({"", dir_ + "/none", sources.machine_id}), sha256_hex("trustbridge hw v1\nabc"));
  EXPECT_EQ(hw_id({file("own", " pod-7 \n"), sources.product_uuid, sources.machine_id}),
            sha256_hex("trustbridge hw v1\npod-7"));
}

TEST_F(HwIdTest, PlaceholdersAreNoIdentity) {
  const std::string machine = file("machine", "abc");
  for (const std::string_view uuid : {"00000000-0000-0000-0000-000000000000", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
                                      "03000200-0400-0500-0006-000700080009", "\n", ""}) {
    EXPECT_EQ(hw_id({"", file("uuid", uuid), machine}), sha256_hex("trustbridge hw v1\nabc")) << uuid;
  }
}

TEST_F(HwIdTest, NoIdentityIsAnError) {
  EXPECT_THROW(hw_id({"", dir_ + "/none", dir_ + "/none"}), Error);
  EXPECT_THROW(hw_id({file("own", "\n"), file("uuid", "x1"), file("machine", "y1")}), Error)
      << "an override that says nothing must not fall back";
}

}  // namespace
}  // namespace tb::sentinel
