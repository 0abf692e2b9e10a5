#include "cli/paths.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/error.h"

namespace tb::cli {
namespace {

class PathsTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "paths-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string refusal(const std::vector<std::string>& inputs, const std::vector<std::string>& outputs) {
    try {
      require_apart(inputs, outputs);
    } catch (const Error& error) {
      return error.reason;
    }
    return "accepted";
  }

  std::string folder_;
};

TEST_F(PathsTest, NamesFollowTheCiphertext) {
  EXPECT_EQ(manifest_path_of("a/model.tbenc"), "a/model.manifest.json");
  EXPECT_EQ(manifest_path_of("model.bin"), "model.bin.manifest.json");
  EXPECT_EQ(key_path_of("a/model.tbenc"), "a/model.tbenc.key");
  EXPECT_EQ(ciphertext_path(folder_), folder_ + "/model.tbenc");
  EXPECT_EQ(ciphertext_path(folder_ + "/x"), folder_ + "/x");
}

TEST_F(PathsTest, OutputsStayApartFromInputsAndEachOther) {
  std::ofstream(folder_ + "/in") << "x";
  std::filesystem::create_directory(folder_ + "/dir");
  std::filesystem::create_symlink("in", folder_ + "/link");
  EXPECT_EQ(refusal({folder_ + "/in"}, {folder_ + "/out", folder_ + "/out2"}), "accepted");
  EXPECT_EQ(refusal({folder_ + "/in"}, {folder_ + "/dir/../in"}), "output_is_input");
  EXPECT_EQ(refusal({folder_ + "/in"}, {folder_ + "/link"}), "output_is_input");
  EXPECT_EQ(refusal({folder_ + "/dir"}, {folder_ + "/dir/new/out"}), "output_is_input");
  EXPECT_EQ(refusal({folder_ + "/dir"}, {folder_ + "/dir2"}), "accepted");
  EXPECT_EQ(refusal({folder_ + "/other", folder_ + "/in"}, {folder_ + "/in"}), "output_is_input");
  EXPECT_EQ(refusal({"", "-"}, {folder_ + "/out", folder_ + "/./out"}), "output_is_input");
}

TEST_F(PathsTest, SpaceIsAskedBeforehand) {
  EXPECT_NO_THROW(require_space(folder_ + "/out", 1));
  EXPECT_THROW(require_space(folder_ + "/out", std::uint64_t{1} << 62), Error);
  EXPECT_NO_THROW(require_space("/no/such/place/out", std::uint64_t{1} << 62));
}

}  // namespace
}  // namespace tb::cli
