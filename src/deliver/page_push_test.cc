#include "deliver/page_push.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <latch>

#include "base/memory.h"
#include "deliver/test_chunks.h"

namespace tb::deliver {
namespace {

constexpr std::uint32_t kChunk = 65536;
constexpr std::uint64_t kPages = 4096;

struct Stored {
  Inode inode;
  std::uint64_t offset;
  Bytes bytes;
};

/// Two files that begin and end anywhere: 512 to 150'000, and 150'528 to the end of the third chunk but 1000 bytes.
MountTree two_files() {
  asset::Content content;
  content.kind = asset::Content::Kind::kTar;
  content.files.push_back({.path = "a", .offset = 512, .bytes = 149'488});
  content.files.push_back({.path = "b", .offset = 150'528, .bytes = 3 * kChunk - 1000 - 150'528});
  return value_or_throw(MountTree::create(content, 3 * kChunk, "model", MountTree::Shape::kBare));
}

ChunkCache::Pin pin_of(ChunkCache& cache, std::uint64_t index) {
  cache.put(index, test::plain(cache.layout().plain_offset(index), cache.layout().chunk_plain_bytes(index)));
  return std::move(*cache.find(index));
}

PagePusher::MakeStore always(PagePusher::Store store) {
  return [store = std::move(store)] { return store; };
}

/// What is stored of one chunk.
std::vector<Stored> stored_of(const MountTree& tree, std::uint64_t index, std::size_t expected) {
  ChunkCache cache(std::make_shared<test::TestChunks>(3 * kChunk, kChunk), 1);
  std::vector<Stored> stored;
  std::latch all(static_cast<std::ptrdiff_t>(expected));
  PagePusher pusher(tree, 2, 1, always([&](Inode inode, std::uint64_t offset, ByteView bytes) {
                      stored.push_back({inode, offset, Bytes(bytes.begin(), bytes.end())});
                      all.count_down();
                    }));
  pusher.push(pin_of(cache, index));
  all.wait();
  pusher.stop();
  return stored;
}

class PagePush : public testing::Test {
 protected:
  void SetUp() override {
    if (sysconf(_SC_PAGESIZE) != kPages) GTEST_SKIP() << "NOT PROVEN: pages of another size";
    if (memory_available().value_or(0) < PagePusher::kLeastFreeMemory) GTEST_SKIP() << "NOT PROVEN: memory is short";
  }
  MountTree tree_ = two_files();
  Inode a_ = tree_.find(kRootInode, "a"), b_ = tree_.find(kRootInode, "b");
};

TEST_F(PagePush, WholePagesOfTheFileOnly) {
  const auto first = stored_of(tree_, 0, 1);
  ASSERT_EQ(first.size(), 1U);
  EXPECT_EQ(first[0].inode, a_);
  EXPECT_EQ(first[0].offset, 0U);
  EXPECT_EQ(first[0].bytes.size(), (kChunk - 512) / kPages * kPages)
      << "the page that goes on in the next chunk is left";
  EXPECT_TRUE(test::is_plain(512, first[0].bytes));

  const auto second = stored_of(tree_, 1, 1);
  EXPECT_EQ(second[0].offset, (kChunk - 512) / kPages * kPages + kPages) << "and so is its other half";
  EXPECT_TRUE(test::is_plain(512 + second[0].offset, second[0].bytes));
}

TEST_F(PagePush, TheLastPageOfAFileAndTheNextFileToo) {
  const auto third = stored_of(tree_, 2, 2);
  ASSERT_EQ(third.size(), 2U);
  EXPECT_EQ(third[0].inode, a_);
  EXPECT_EQ(third[0].offset % kPages, 0U);
  EXPECT_EQ(third[0].offset + third[0].bytes.size(), 149'488U) << "to the file's end, though it is not a page's";
  EXPECT_TRUE(test::is_plain(512 + third[0].offset, third[0].bytes));
  EXPECT_EQ(third[1].inode, b_);
  EXPECT_EQ(third[1].offset, 0U);
  EXPECT_EQ(third[1].bytes.size(), tree_.node(b_)->bytes);
  EXPECT_TRUE(test::is_plain(150'528, third[1].bytes));
}

TEST_F(PagePush, OnceForAnOpenedChunkAndNeverInAnyonesWay) {
  ChunkCache cache(std::make_shared<test::TestChunks>(3 * kChunk, kChunk), 1);
  std::latch storing(1), go_on(1);
  std::atomic<int> stores = 0;
  PagePusher pusher(tree_, 2, 1, always([&](Inode, std::uint64_t, ByteView) {
                      ++stores;
                      storing.count_down();
                      go_on.wait();
                    }));
  pusher.push(pin_of(cache, 0));
  storing.wait();
  pusher.push(std::move(*cache.find(0)));  // again
  pusher.push(pin_of(cache, 1));           // waits
  pusher.push(pin_of(cache, 2));           // one too many: left
  go_on.count_down();
  pusher.stop();
  EXPECT_LE(stores, 2);
  EXPECT_TRUE(cache.find(2)->claim()) << "it may be pushed another time";
  EXPECT_FALSE(cache.find(0)->claim());
}

TEST_F(PagePush, SeveralAtOnce) {
  ChunkCache cache(std::make_shared<test::TestChunks>(3 * kChunk, kChunk), 1);
  std::latch both(2);
  PagePusher pusher(tree_, 2, 2, always([&](Inode, std::uint64_t, ByteView) {
                      if (!both.try_wait()) both.arrive_and_wait();
                    }));
  pusher.push(pin_of(cache, 0));
  pusher.push(pin_of(cache, 1));
  both.wait();
  pusher.stop();
}

}  // namespace
}  // namespace tb::deliver
