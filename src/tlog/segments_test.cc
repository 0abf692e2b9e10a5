#include "tlog/segments.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace tb::tlog {
namespace {

class SegmentsTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = testing::TempDir() + "/segments-XXXXXX";
    dir_ = mkdtemp(pattern.data());
    log_ = dir_ + "/audit.jsonl";
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(dir_ + "/" + name, std::ios::binary) << text;
  }
  Cut cut_of(std::uint64_t records) const {
    Cut out;
    for (std::uint64_t i = 0; i < records; ++i) {
      out.prev = leaf_hash("record " + std::to_string(i));
      out.tree.append(out.prev);
    }
    out.checkpoint = sign_checkpoint(
        {.origin = keyed_origin(key_.public_key(), "audit"), .size = records, .root = out.tree.root()}, key_);
    return out;
  }
  static std::string reason(const std::string& text) {
    try {
      Cut::parse(text);
      return "";
    } catch (const Error& error) {
      return error.reason;
    }
  }
  std::string dir_, log_;
  const Ed25519PrivateKey key_ = Ed25519PrivateKey::generate();
};

TEST_F(SegmentsTest, ACutIsReadAsItWasWritten) {
  for (const std::uint64_t records : {1U, 7U, 64U, 1000U}) {
    const Cut cut = cut_of(records);
    const Cut read = Cut::parse(cut.to_text());
    EXPECT_EQ(read.head(), cut.head());
    EXPECT_EQ(read.tree.root(), cut.tree.root());
    EXPECT_EQ(read.to_text(), cut.to_text());
    EXPECT_EQ(verified_checkpoint(read.checkpoint, key_.public_key()).size, records);
  }
}

TEST_F(SegmentsTest, ACutThatContradictsItselfIsRefused) {
  const std::string text = cut_of(7).to_text();
  EXPECT_EQ(reason(text), "");
  EXPECT_EQ(reason(""), "checkpoint_malformed");
  EXPECT_EQ(reason("trustbridge-cut v2" + text.substr(18)), "checkpoint_malformed");
  for (std::size_t i = 0; i < text.size(); ++i) {
    EXPECT_NE(reason(text.substr(0, i)), "") << "cut short at " << i;
  }
  const Cut other = cut_of(11);
  Cut mixed = cut_of(7);
  mixed.tree = other.tree;
  EXPECT_EQ(reason(mixed.to_text()), "checkpoint_malformed") << "another root of as many hashes";
  mixed.tree = cut_of(8).tree;
  EXPECT_EQ(reason(mixed.to_text()), "checkpoint_malformed") << "another number of hashes";
  mixed = cut_of(7);
  mixed.checkpoint = sign_checkpoint({.origin = "x", .size = 0, .root = empty_root()}, key_);
  mixed.tree = {};
  EXPECT_EQ(reason(mixed.to_text()), "checkpoint_malformed") << "no records";
  std::string many = text;
  many.insert(many.find("\n\n") + 1, to_base64(Digest{}) + "\n");
  EXPECT_EQ(reason(many), "checkpoint_malformed") << "a hash too many";
  EXPECT_EQ(reason(text + "\n"), "note_malformed");
  EXPECT_EQ(reason(text + std::string(kMaxCutBytes, '\n')), "checkpoint_malformed") << "too large";
}

TEST_F(SegmentsTest, PartsAreFoundByTheirNames) {
  EXPECT_TRUE(list_segments(dir_ + "/missing/audit.jsonl").closed.empty());
  for (const auto* name : {"audit-0000000000000100.jsonl", "audit-0000000000000000.jsonl", "audit-0000000000000100.cut",
                           "audit-0000000000000200.cut", "audit-100.jsonl", "audit-00000000000000100.jsonl",
                           "audit-000000000000010x.jsonl", "audit-0000000000000100.jsonl.bak",
                           "other-0000000000000001.jsonl", "audit.jsonl.checkpoint"}) {
    write(name, "");
  }
  Segments found = list_segments(log_);
  EXPECT_EQ(found.closed, (std::vector<std::uint64_t>{0, 100}));
  EXPECT_EQ(found.cuts, (std::vector<std::uint64_t>{100, 200}));
  EXPECT_FALSE(found.has_open);
  write("audit.jsonl", "");
  EXPECT_TRUE(list_segments(log_).has_open);
  EXPECT_EQ(segment_path(log_, 100), dir_ + "/audit-0000000000000100.jsonl");
}

TEST_F(SegmentsTest, ACutUnderAnotherNameIsRefused) {
  write("audit-0000000000000007.cut", cut_of(7).to_text());
  write("audit-0000000000000008.cut", cut_of(7).to_text());
  EXPECT_EQ(read_cut(log_, 7).tree.size(), 7U);
  EXPECT_THROW(read_cut(log_, 8), Error);
  EXPECT_THROW(read_cut(log_, 9), Error);
}

TEST_F(SegmentsTest, LinesComeOneAtATimeAndTheRestIsTold) {
  const std::string large(600000, 'x');
  write("audit.jsonl", "a\n" + large + "\n\npart");
  LineReader lines(log_);
  std::string line;
  EXPECT_TRUE(lines.next(line) && line == "a" && lines.offset() == 2);
  EXPECT_TRUE(lines.next(line) && line == large);
  EXPECT_TRUE(lines.next(line) && line.empty() && lines.number() == 3);
  EXPECT_FALSE(lines.next(line));
  EXPECT_TRUE(lines.has_partial());
  EXPECT_EQ(lines.offset(), 2 + large.size() + 1 + 1);
  std::ofstream(log_, std::ios::app) << "ial\n";
  EXPECT_TRUE(lines.next(line) && line == "partial") << "what was appended since";
  EXPECT_FALSE(lines.is_replaced());
  std::filesystem::rename(log_, log_ + ".old");
  EXPECT_TRUE(lines.is_replaced());
  write("audit.jsonl", "new\n");
  EXPECT_TRUE(lines.is_replaced());
}

TEST_F(SegmentsTest, ALineWithoutEndIsRefusedInBoundedMemory) {
  write("audit.jsonl", std::string(2 * kMaxRecordBytes, 'x'));
  LineReader lines(log_);
  std::string line;
  EXPECT_THROW(lines.next(line), Error);
}

}  // namespace
}  // namespace tb::tlog
