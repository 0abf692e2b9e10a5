#include "oci/layer.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "oci/archive.h"
#include "oci/layout.h"

namespace tb::oci {
namespace {

class LayerTest : public testing::Test {
 protected:
  LayerTest() {
    std::string pattern = testing::TempDir() + "tb-oci-XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  ~LayerTest() override { std::filesystem::remove_all(path_); }
  BlobFolder folder(const std::string& name) { return BlobFolder(path_ + "/" + name); }
  static LayerEntry file(std::string path, std::string content) {
    return {.path = std::move(path), .content = std::move(content), .source = {}};
  }
  std::string path_;
};

TEST_F(LayerTest, TheOrderInWhichFilesAreNamedDoesNotMatter) {
  const BlobFolder place = folder("a");
  const Layer once = write_layer(place, {file("b/c", "1"), file("a", "2")}, 0);
  const Layer again = write_layer(place, {file("a", "2"), file("b/c", "1")}, 0);
  EXPECT_EQ(once.blob, again.blob);
  EXPECT_EQ(once.diff_id, again.diff_id);
  EXPECT_NE(write_layer(place, {file("a", "2"), file("b/c", "1")}, 1).diff_id, once.diff_id);
  EXPECT_NE(write_layer(place, {file("a", "2"), file("b/c", "3")}, 0).diff_id, once.diff_id);
}

TEST_F(LayerTest, PathsThatCouldLeaveTheImageAreRefused) {
  const BlobFolder place = folder("a");
  for (const char* path : {"", "/a", "a/", "a//b", ".", "..", "a/../b", "./a", "a\nb", "a b", "a\\b", "\xc3\xa4"}) {
    EXPECT_FALSE(tar_header(file(path, ""), 0, 0)) << path;
    EXPECT_THROW(write_layer(place, {file(path, "")}, 0), Error) << path;
  }
  EXPECT_THROW(write_layer(place, {file("a", ""), file("a", "")}, 0), Error);
  EXPECT_TRUE(tar_header(file(std::string(150, 'd') + "/" + std::string(99, 'f'), ""), 0, 0));
  EXPECT_FALSE(tar_header(file(std::string(156, 'd') + "/" + std::string(90, 'f'), ""), 0, 0));
  EXPECT_FALSE(tar_header(file(std::string(101, 'f'), ""), 0, 0));
  LayerEntry link{.path = "l", .kind = LayerEntry::Kind::kLink, .content = std::string(101, 'x'), .source = {}};
  EXPECT_FALSE(tar_header(link, 0, 0));
  EXPECT_FALSE(tar_header(file("a", ""), 0, -1));
  EXPECT_FALSE(tar_header(file("a", ""), std::uint64_t{1} << 33, 0));
}

TEST_F(LayerTest, AHeaderIsReadAsItWasWritten) {
  const std::string path = std::string(120, 'd') + "/name";
  const std::string header = tar_header(file(path, ""), 0777, 5).value();
  const auto entry = parse_archive_header(as_bytes(header)).value();
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->name, path);
  EXPECT_EQ(entry->bytes, 0777U);
  EXPECT_TRUE(entry->is_file);
  for (std::size_t at : {0UL, 124UL, 148UL, 156UL, 345UL}) {
    std::string flipped = header;
    flipped[at] = static_cast<char>(flipped[at] ^ 1);
    EXPECT_FALSE(parse_archive_header(as_bytes(flipped))) << at;
  }
  EXPECT_FALSE(parse_archive_header(as_bytes(header.substr(1))));
  EXPECT_FALSE(parse_archive_header(Bytes(512)).value().has_value());
}

TEST_F(LayerTest, ABlobIsWhatItsDigestSaysOrIsNotKept) {
  const BlobFolder place = folder("a");
  const Descriptor told = describe("x", "right");
  IncomingBlob blob(place);
  blob.write(as_bytes("wrong"));
  EXPECT_THROW(blob.keep_as(told), Error);
  EXPECT_FALSE(place.has(told));
  place.put("x", "right");
  EXPECT_TRUE(place.has(told));
  ASSERT_TRUE(write_file_atomically(place.path_of(told.digest), "wrong", 0644, true));
  try {
    place.read(told);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.reason, "image_digest_mismatch");
  }
  EXPECT_THROW(place.path_of("../../etc/passwd"), Error);
}

TEST_F(LayerTest, AnArchiveGivesBackItsBlobsAndRefusesOthers) {
  const BlobFolder place = folder("a");
  Descriptor blob = place.put(kManifestType, "{}");
  const std::string path = path_ + "/a.tar";
  write_archive(path, place, {blob, blob}, index_text({blob}), false);
  EXPECT_THROW(write_archive(path, place, {blob}, "", false), Error);
  const BlobFolder other = folder("b");
  EXPECT_EQ(read_archive(path, other), index_text({blob}));
  EXPECT_EQ(other.read(blob), "{}");

  std::string text = read_small_file(path).value();
  std::string tampered = text;
  tampered[512] = '[';  // the first blob's first byte
  ASSERT_TRUE(write_file_atomically(path_ + "/t.tar", tampered, 0644, true));
  EXPECT_THROW(read_archive(path_ + "/t.tar", folder("c")), Error);
  ASSERT_TRUE(write_file_atomically(path_ + "/s.tar", text.substr(0, 700), 0644, true));
  EXPECT_THROW(read_archive(path_ + "/s.tar", folder("d")), Error);
  ASSERT_TRUE(write_file_atomically(path_ + "/e.tar", std::string(1024, '\0'), 0644, true));
  EXPECT_THROW(read_archive(path_ + "/e.tar", folder("e")), Error);
}

TEST_F(LayerTest, ALayoutKeepsOneImageANameAndTheOthers) {
  const BlobFolder place = folder("a");
  Descriptor one = place.put(kManifestType, "1"), two = place.put(kManifestType, "2"),
             three = place.put(kManifestType, "3");
  one.ref_name = "x";
  two.ref_name = "y";
  three.ref_name = "x";
  for (const Descriptor& image : {one, two, three}) add_to_layout(place, image);
  EXPECT_EQ(read_layout(place.folder()), (std::vector<Descriptor>{two, three}));
  ASSERT_TRUE(write_file_atomically(place.folder() + "/oci-layout", R"({"imageLayoutVersion":"2.0.0"})", 0644, true));
  EXPECT_THROW(read_layout(place.folder()), Error);
}

}  // namespace
}  // namespace tb::oci
