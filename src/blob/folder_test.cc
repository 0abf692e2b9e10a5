#include "blob/folder.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/crypto.h"
#include "base/fs.h"

namespace tb::blob {
namespace {

std::string refusal(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.reason;
  }
  return "";
}

class FolderTest : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = testing::TempDir() + "/tb-folder-" + random_token(9);
    std::filesystem::create_directory(dir_);
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  void put(std::string_view name, std::string_view content) const {
    value_or_throw(write_file_atomically(dir_ + "/" + std::string(name), content, 0644, true));
  }
  std::string dir_;
};

TEST_F(FolderTest, GivesManifestAndCiphertext) {
  put("model.tbenc", "0123456789");
  put("model.manifest.json", "{}");
  for (const std::string& place : {"file:" + dir_, "file://" + dir_, "file:" + dir_ + "//"}) {
    const Folder folder = Folder::at(place);
    EXPECT_EQ(folder.manifest(2), "{}");
    const auto source = folder.ciphertext();
    EXPECT_EQ(source->stat().bytes, 10U);
    std::string got;
    source->fetch(3, 4, [&](ByteView piece) { got += as_text(piece); });
    EXPECT_EQ(got, "3456");
  }
}

TEST_F(FolderTest, ManifestIsBounded) {
  put("model.manifest.json", "{  }");
  EXPECT_EQ(refusal([&] { Folder::at("file:" + dir_).manifest(3); }), "file_too_large");
}

TEST_F(FolderTest, SaysWhatIsNotThere) {
  const Folder folder = Folder::at("file:" + dir_);
  EXPECT_EQ(refusal([&] { folder.ciphertext(); }), "file_not_found");
  EXPECT_EQ(refusal([&] { folder.manifest(100); }), "file_not_found");
  std::filesystem::create_directory(dir_ + "/model.tbenc");
  EXPECT_EQ(refusal([&] { folder.ciphertext(); }), "not_a_regular_file");
}

TEST(FolderPlace, IsAFileUrlOfAnAbsolutePath) {
  for (const char* bad : {"", "file:", "file:models", "file:./models", "file://host/models", "file:////models",
                          "/models", "https://a/b", "FILE:/models", "cp:"}) {
    EXPECT_EQ(refusal([&] { Folder::at(bad); }), "config_invalid") << bad;
  }
  EXPECT_EQ(refusal([&] { Folder::at(std::string_view("file:/a\0b", 9)); }), "config_invalid");
  EXPECT_EQ(Folder::at("file:/").path(), "");
  EXPECT_EQ(Folder::at("file:/a b%20c").path(), "/a b%20c");
}

}  // namespace
}  // namespace tb::blob
