#include "hydrate/journal.h"

#include <gtest/gtest.h>

namespace tb::hydrate {
namespace {

tbenc::Layout layout(std::uint64_t chunks) {
  return value_or_throw(tbenc::Layout::from_plaintext(chunks * 1024, 1024));
}

Bytes whole(const Digest& digest, const tbenc::Layout& of, const std::vector<bool>& present) {
  Bytes bytes = journal_head(digest, of);
  for (std::uint64_t i = 0; bytes.size() < journal_bytes(of.chunk_count()); ++i)
    bytes.push_back(journal_byte(present, i));
  return bytes;
}

TEST(Journal, GivesBackWhatWasWritten) {
  for (const std::uint64_t chunks : {0U, 1U, 7U, 8U, 9U, 64U, 100U}) {
    std::vector<bool> present(chunks);
    for (std::uint64_t i = 0; i < chunks; ++i) present[i] = i % 3 == 0;
    const auto parsed = parse_journal(whole({7}, layout(chunks), present), {7}, layout(chunks));
    ASSERT_TRUE(parsed) << chunks;
    EXPECT_EQ(*parsed, present);
  }
}

TEST(Journal, BytesAreFixed) {
  const Bytes head = journal_head({0xab}, layout(3));
  EXPECT_EQ(to_hex(head).substr(0, 20), "54424a524e4c3031ab00");
  EXPECT_EQ(to_hex(head).substr(80),
            "0000000000000003"
            "00000400"
            "000000000000000000000000");
  EXPECT_EQ(journal_byte({true, false, true}, 0), 0b101);
}

TEST(Journal, AnythingElseIsRefused) {
  const auto of = layout(12);
  const Bytes good = whole({7}, of, std::vector<bool>(12, true));
  ASSERT_TRUE(parse_journal(good, {7}, of));
  const auto refused = [&](Bytes bytes) {
    const auto parsed = parse_journal(bytes, {7}, of);
    return !parsed && parsed.error().reason == "journal_malformed";
  };
  EXPECT_TRUE(refused({}));
  EXPECT_TRUE(refused(Bytes(good.begin(), good.end() - 1)));
  Bytes longer = good;
  longer.push_back(0);
  EXPECT_TRUE(refused(longer));
  for (std::size_t at = 0; at < kJournalHeadBytes; ++at) {
    Bytes changed = good;
    changed[at] ^= 1;
    EXPECT_TRUE(refused(changed)) << "head byte " << at;
  }
  Bytes beyond = good;
  beyond.back() |= 0x10;
  EXPECT_TRUE(refused(beyond)) << "a record that does not exist";
  EXPECT_FALSE(parse_journal(good, {8}, of)) << "another manifest";
  EXPECT_FALSE(parse_journal(good, {7}, layout(13)));
}

}  // namespace
}  // namespace tb::hydrate
