#include "tbenc/source.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "tbenc/test_files.h"

namespace tb::tbenc {
namespace {

class Source : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "/tbenc_source.XXXXXX";
    ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
    path_ = directory_ + "/file";
    ASSERT_TRUE(write_file_atomically(path_, "0123456789", 0600, false));
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::string directory_, path_;
};

TEST_F(Source, ReadsAFileAnywhere) {
  const auto source = FileSource::open(path_).value();
  EXPECT_EQ(source.size(), 10U);
  Bytes out(4);
  ASSERT_TRUE(source.read_at(3, out));
  EXPECT_EQ(as_text(out), "3456");
  EXPECT_EQ(source.read_at(7, out).error().reason, "source_changed");
  EXPECT_TRUE(source.check_unchanged());
}

TEST_F(Source, RefusesWhatIsNoRegularFile) {
  EXPECT_EQ(FileSource::open(directory_).error().reason, "not_a_regular_file");
  EXPECT_EQ(FileSource::open("/dev/null").error().reason, "not_a_regular_file");
  const std::string fifo = directory_ + "/fifo";
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  EXPECT_EQ(FileSource::open(fifo).error().reason, "not_a_regular_file");
  EXPECT_EQ(FileSource::open(directory_ + "/none").error().reason, "file_not_found");
}

TEST_F(Source, SeesThatAFileGrewShrankOrWasWritten) {
  const auto grown = FileSource::open(path_).value();
  ASSERT_EQ(::truncate(path_.c_str(), 11), 0);
  EXPECT_EQ(grown.check_unchanged().error().reason, "source_changed");

  const auto shrunk = FileSource::open(path_).value();
  ASSERT_EQ(::truncate(path_.c_str(), 5), 0);
  EXPECT_EQ(shrunk.check_unchanged().error().reason, "source_changed");
  Bytes out(10);
  EXPECT_EQ(shrunk.read_at(0, out).error().reason, "source_changed");

  const auto written = FileSource::open(path_).value();
  const timespec times[2] = {{.tv_sec = 1, .tv_nsec = 0}, {.tv_sec = 1, .tv_nsec = 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, path_.c_str(), times, 0), 0);
  EXPECT_EQ(written.check_unchanged().error().reason, "source_changed");
}

TEST_F(Source, ReadsADescriptorToItsEnd) {
  const Fd fd = open_file(path_, O_RDONLY).value();
  FdSource source(fd.get(), path_);
  Bytes out(7);
  EXPECT_EQ(source.read(out).value(), 7U);
  EXPECT_EQ(source.read(out).value(), 3U);
  EXPECT_EQ(source.read(out).value(), 0U);
  FdSource closed(-1, "closed");
  EXPECT_FALSE(closed.read(out));
}

TEST(MemorySources, EndWhereTheBytesEnd) {
  const Bytes bytes = test::pattern(10);
  Bytes out(4);
  EXPECT_TRUE(MemorySource(bytes).read_at(6, out));
  EXPECT_FALSE(MemorySource(bytes).read_at(7, out));
  EXPECT_FALSE(MemorySource(bytes).read_at(~std::uint64_t{0}, out));
  MemoryPull pull(bytes);
  EXPECT_EQ(pull.read(out).value(), 4U);
  EXPECT_EQ(pull.read(out).value(), 4U);
  EXPECT_EQ(pull.read(out).value(), 2U);
  EXPECT_EQ(pull.read(out).value(), 0U);
}

}  // namespace
}  // namespace tb::tbenc
