#include "blob/file_source.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/crypto.h"
#include "base/fs.h"

namespace tb::blob {
namespace {

struct File {
  explicit File(std::string_view content) : path(testing::TempDir() + "/blob-" + random_token(9)) {
    value_or_throw(write_file_atomically(path, content, 0600, true));
  }
  ~File() { unlink(path.c_str()); }
  std::string path;
};

std::string read(FileSource& source, std::uint64_t offset, std::uint64_t bytes) {
  std::string got;
  source.fetch(offset, bytes, [&](ByteView piece) { got += as_text(piece); });
  return got;
}

std::string refusal(FileSource& source, std::uint64_t offset, std::uint64_t bytes) {
  try {
    read(source, offset, bytes);
  } catch (const Error& error) {
    return error.reason;
  }
  return "";
}

TEST(FileSource, ReadsAnyRange) {
  File file("0123456789");
  FileSource source(file.path);
  EXPECT_EQ(source.stat().bytes, 10U);
  EXPECT_EQ(read(source, 0, 10), "0123456789");
  EXPECT_EQ(read(source, 7, 2), "78");
}

TEST(FileSource, RefusesWhatIsOutside) {
  File file("0123456789");
  FileSource source(file.path);
  EXPECT_EQ(refusal(source, 5, 6), "range_outside_blob");
  EXPECT_EQ(refusal(source, ~std::uint64_t{0}, 2), "range_outside_blob");
}

TEST(FileSource, RefusesAFileThatChanges) {
  File file("0123456789");
  FileSource source(file.path);
  Fd fd = value_or_throw(open_file(file.path, O_WRONLY | O_TRUNC));
  value_or_throw(write_full(fd.get(), as_bytes("0123"), "file"));
  EXPECT_EQ(refusal(source, 0, 10), "blob_changed");
}

TEST(FileSource, RefusesADirectoryAndWhatIsNotThere) {
  EXPECT_THROW(FileSource("/"), Error);
  EXPECT_THROW(FileSource("/nowhere/at/all"), Error);
}

TEST(FileSource, HearsAStop) {
  File file("0123456789");
  FileSource source(file.path);
  std::stop_source stop;
  stop.request_stop();
  EXPECT_THROW(source.fetch(0, 1, [](ByteView) {}, stop.get_token()), Error);
}

}  // namespace
}  // namespace tb::blob
