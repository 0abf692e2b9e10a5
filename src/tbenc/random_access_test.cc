#include "tbenc/random_access.h"

#include <gtest/gtest.h>

#include <random>
#include <thread>

#include "tbenc/test_files.h"

namespace tb::tbenc {
namespace {

using namespace test;

struct Given {
  FileKey key = key_of(5);
  Bytes plain = pattern(10'000);
  Bytes file = sealed(key, header_of(1024), plain);
  RandomReader reader = open(file);
  RandomReader open(ByteView bytes) const {
    return RandomReader::open(key, std::make_shared<MemorySource>(bytes), {.plaintext_bytes = plain.size()}).value();
  }
  Bytes expected(std::size_t offset, std::size_t bytes) const {
    return {plain.begin() + std::ptrdiff_t(offset), plain.begin() + std::ptrdiff_t(offset + bytes)};
  }
};

TEST(RandomAccess, ReadsAnyRange) {
  Given given;
  std::mt19937 random(1);
  for (int i = 0; i < 500; ++i) {
    const std::size_t offset = random() % (given.plain.size() + 1);
    const std::size_t bytes = random() % (given.plain.size() - offset + 1);
    Bytes out(bytes, 0xee);
    ASSERT_TRUE(given.reader.read_at(offset, out));
    ASSERT_EQ(out, given.expected(offset, bytes)) << offset << " + " << bytes;
  }
}

TEST(RandomAccess, RefusesRangesThatPassTheEnd) {
  Given given;
  for (const auto& [offset, bytes] : {std::pair<std::uint64_t, std::size_t>{10'000, 1},
                                      {9'999, 2},
                                      {10'001, 0},
                                      {~std::uint64_t{0}, 1},
                                      {~std::uint64_t{0} - 5, 10}}) {
    Bytes out(bytes, 0xee);
    EXPECT_EQ(given.reader.read_at(offset, out).error().reason, "range_invalid") << offset;
    EXPECT_EQ(out, Bytes(bytes, 0));
  }
  EXPECT_TRUE(given.reader.read_at(10'000, {}));
}

TEST(RandomAccess, ABadChunkSpoilsOnlyItselfAndWipesTheOutput) {
  Given given;
  Bytes file = given.file;
  file[32 + 1044 * 3 + 50] ^= 1;
  RandomReader reader = given.open(file);
  Bytes out(2000, 0xee);
  EXPECT_EQ(reader.read_at(2 * 1024 + 500, out).error().reason, "tag_mismatch");
  EXPECT_EQ(out, Bytes(2000, 0));
  out.assign(1024, 0xee);
  ASSERT_TRUE(reader.read_at(4 * 1024, out));
  EXPECT_EQ(out, given.expected(4 * 1024, 1024));
  EXPECT_EQ(reader.read_at(3 * 1024, out).error().reason, "tag_mismatch");
  ASSERT_TRUE(reader.read_at(2 * 1024, out));
  EXPECT_EQ(out, given.expected(2 * 1024, 1024));
}

TEST(RandomAccess, AFailedChunkIsNeverServedFromWhatWasLoadedBefore) {
  Given given;
  Bytes file = given.file;
  RandomReader reader = given.open(file);
  Bytes out(10);
  ASSERT_TRUE(reader.read_at(0, out));
  file[32 + 1044 + 50] ^= 1;
  EXPECT_FALSE(reader.read_at(1024, out));
  EXPECT_FALSE(reader.read_at(1024, out));
  ASSERT_TRUE(reader.read_at(0, out));
  EXPECT_EQ(out, given.expected(0, 10));
}

TEST(RandomAccess, ClonesReadFromSeveralThreads) {
  Given given;
  std::vector<std::jthread> threads;
  std::atomic<int> wrong = 0;
  for (std::uint32_t seed = 0; seed < 4; ++seed) {
    threads.emplace_back([&given, &wrong, seed, reader = given.reader.clone()]() mutable {
      std::mt19937 random(seed);
      for (int i = 0; i < 100; ++i) {
        const std::size_t offset = random() % 9'000;
        Bytes out(1000);
        if (!reader.read_at(offset, out) || out != given.expected(offset, 1000)) ++wrong;
      }
    });
  }
  threads.clear();
  EXPECT_EQ(wrong, 0);
}

TEST(RandomAccess, SaysWhetherTheEndIsAuthenticated) {
  Given given;
  EXPECT_TRUE(given.reader.end_authenticated());
  const auto reader = RandomReader::open(given.key, std::make_shared<MemorySource>(given.file)).value();
  EXPECT_FALSE(reader.end_authenticated());
  EXPECT_EQ(reader.layout().plaintext_bytes(), 10'000U);
}

}  // namespace
}  // namespace tb::tbenc
