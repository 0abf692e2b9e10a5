// spec: wire 1.2, uploads to the embedded store
#include "controlplane/blob_files.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

#include "base/crypto.h"

namespace tb::controlplane {
namespace {

class BlobFilesTest : public testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove_all(dir_); }
  std::string reason(std::uint64_t offset, std::uint64_t total, std::string_view piece) {
    try {
      files_.add(blob_, offset, total, as_bytes(piece));
    } catch (const Error& error) {
      return error.reason;
    }
    return "stored";
  }
  std::string content() {
    auto object = files_.open(blob_);
    if (!object) return "(none)";
    Bytes bytes(object->bytes);
    value_or_throw(pread_full(object->fd.get(), bytes, 0, "object"));
    return std::string(as_text(bytes));
  }
  const std::string dir_ = testing::TempDir() + "tb-blobs-" + random_token(8);
  const BlobFiles files_{dir_};
  const BlobName blob_{.tenant = "t", .asset_id = "m", .name = kCiphertextName};
};

TEST_F(BlobFilesTest, PiecesMakeAnObjectThatAppearsWhole) {
  EXPECT_EQ(files_.state(blob_, 6).received_bytes, 0);
  EXPECT_EQ(reason(0, 6, "abc"), "stored");
  EXPECT_EQ(content(), "(none)");
  EXPECT_EQ(files_.state(blob_, 6).received_bytes, 3);
  EXPECT_FALSE(files_.state(blob_, 6).complete);
  EXPECT_EQ(reason(2, 6, "cde"), "upload_offset_wrong");
  EXPECT_EQ(reason(4, 6, "ef"), "upload_offset_wrong");
  EXPECT_EQ(reason(3, 6, "defg"), "range_invalid");
  EXPECT_EQ(reason(3, 6, "def"), "stored");
  EXPECT_EQ(content(), "abcdef");
  EXPECT_TRUE(files_.state(blob_, 6).complete);
}

TEST_F(BlobFilesTest, AnObjectIsNeverReplaced) {
  EXPECT_EQ(reason(0, 3, "abc"), "stored");
  EXPECT_EQ(reason(0, 3, "xyz"), "blob_conflict");
  EXPECT_EQ(content(), "abc");
  EXPECT_THROW(files_.state(blob_, 4), Error);
}

TEST_F(BlobFilesTest, AnUploadCanBeginAgain) {
  EXPECT_EQ(reason(0, 6, "abc"), "stored");
  EXPECT_EQ(reason(0, 4, "wxyz"), "stored");
  EXPECT_EQ(content(), "wxyz");
}

TEST_F(BlobFilesTest, OnlyOneOfManyUploadsWins) {
  std::atomic<int> stored{0};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        if (reason(0, 4, std::string(4, static_cast<char>('a' + t))) == "stored") ++stored;
      });
    }
  }
  EXPECT_EQ(stored.load(), 1);
  EXPECT_EQ(content(), std::string(4, content()[0]));
}

TEST_F(BlobFilesTest, NamesNeverLeadOut) {
  for (const BlobName& bad : {BlobName{.tenant = "..", .asset_id = "m", .name = kCiphertextName},
                              BlobName{.tenant = "t", .asset_id = "../x", .name = kCiphertextName},
                              BlobName{.tenant = "t", .asset_id = "m", .name = "kek"},
                              BlobName{.tenant = "", .asset_id = "m", .name = kCiphertextName}}) {
    EXPECT_THROW(files_.open(bad), Error);
    EXPECT_THROW(files_.add(bad, 0, 1, as_bytes("x")), Error);
  }
}

TEST_F(BlobFilesTest, LinksAreNotFollowed) {
  std::filesystem::create_directories(dir_ + "/t/m");
  std::filesystem::create_symlink("/etc/passwd", dir_ + "/t/m/model.tbenc");
  EXPECT_THROW(files_.open(blob_), Error);
}

}  // namespace
}  // namespace tb::controlplane
