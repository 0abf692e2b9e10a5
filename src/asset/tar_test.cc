// spec: tbenc-v1 6
#include <gtest/gtest.h>

#include "asset/tar_header.h"
#include "asset/tar_map.h"

namespace tb::asset {
namespace {

template <typename T>
std::string reason_of(const Result<T>& result) {
  return result ? "ok" : result.error().reason;
}

TarEntry file(std::string path, std::uint64_t bytes, std::uint32_t mode = kPlainMode) {
  return {false, std::move(path), bytes, mode};
}

std::string header(const TarEntry& entry) {
  return *encode_tar_header(entry);
}

void seal(std::string& block, std::size_t at = 0) {
  for (std::size_t i = 148; i < 156; ++i) block[at + i] = ' ';
  unsigned sum = 0;
  for (std::size_t i = 0; i < 512; ++i) sum += static_cast<unsigned char>(block[at + i]);
  char text[8];
  snprintf(text, sizeof text, "%06o", sum);
  block.replace(at + 148, 7, std::string(text, 7));
}

TEST(TarHeader, RoundTrip) {
  const std::string long_path = std::string(200, 'd') + "/" + std::string(250, 'f') + ".safetensors";
  for (const TarEntry& entry :
       {file("a", 0), file("config.json", 512, kExecutableMode), TarEntry{true, "dir", 0, 0755},
        TarEntry{true, std::string(120, 'x') + "/y", 0, 0755}, file(std::string(100, 'n'), 1),
        file("dir/mod\xc3\xa8le \xe6\xa8\xa1.gguf", 7), file(long_path, 3), file("big", 0777777777777ULL),
        file("bigger", (1ULL << 33)), file("huge", (1ULL << 52) + 1)}) {
    const auto text = encode_tar_header(entry);
    ASSERT_TRUE(text) << text.error().message;
    EXPECT_EQ(text->size() % 512, 0U);
    const auto parsed = parse_tar_header(as_bytes(*text));
    ASSERT_TRUE(parsed) << entry.path << ": " << parsed.error().message;
    EXPECT_EQ(parsed->entry, entry) << entry.path;
    EXPECT_EQ(parsed->header_bytes, text->size());
    EXPECT_EQ(*text, header(entry));
  }
}

TEST(TarHeader, SaysNothingOfTheMachine) {
  const std::string block = header(file("a", 5));
  ASSERT_EQ(block.size(), 512U);
  EXPECT_EQ(block.substr(100, 8), std::string("000644 \0", 8));
  EXPECT_EQ(block.substr(108, 8), std::string("000000 \0", 8));
  EXPECT_EQ(block.substr(116, 8), std::string("000000 \0", 8));
  EXPECT_EQ(block.substr(136, 12), "00000000000 ");
  EXPECT_EQ(block.substr(265, 64), std::string(64, '\0'));
}

TEST(TarHeader, RefusesWhatLibarchiveWarnsOf) {
  EXPECT_EQ(reason_of(encode_tar_header(file("bad\xff", 1))), "archive_failed");
}

TEST(TarHeader, RefusesEverythingElse) {
  const std::string good = header(file("a", 5));
  ASSERT_EQ(reason_of(parse_tar_header(as_bytes(good))), "ok");
  for (const char type : {'1', '2', '3', '4', '6', '7', 'g', 'L', 'K', 'S', '\0', 'A'}) {
    std::string bad = good;
    bad[156] = type;
    seal(bad);
    EXPECT_EQ(reason_of(parse_tar_header(as_bytes(bad))), "archive_malformed") << type;
  }
  for (const auto& [at, bytes] : std::vector<std::pair<std::size_t, std::string>>{{0, std::string(1, '\0')},
                                                                                  {1, std::string("\0b", 2)},
                                                                                  {124, "x"},
                                                                                  {124, "\xff"},
                                                                                  {157, "/etc/passwd"},
                                                                                  {257, "ustaR"},
                                                                                  {263, "01"},
                                                                                  {100, "7777777"}}) {
    std::string bad = good;
    bad.replace(at, bytes.size(), bytes);
    seal(bad);
    EXPECT_EQ(reason_of(parse_tar_header(as_bytes(bad))), "archive_malformed") << at;
  }
  std::string flipped = good;
  flipped[0] = 'b';
  EXPECT_EQ(reason_of(parse_tar_header(as_bytes(flipped))), "archive_malformed");
  EXPECT_EQ(reason_of(parse_tar_header(as_bytes(good.substr(0, 511)))), "archive_malformed");
  EXPECT_EQ(reason_of(parse_tar_header({})), "archive_malformed");
}

/// A pax extension with those records, then the ordinary header of "a".
std::string extended(std::string records) {
  std::string x = header(file("x", records.size()));
  x[156] = 'x';
  seal(x);
  records.resize((records.size() + 511) / 512 * 512, '\0');
  return x + records + header(file("a", 5));
}

TEST(TarHeader, PaxExtension) {
  const auto parsed = parse_tar_header(as_bytes(extended("10 path=b\n")));
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_EQ(parsed->entry, file("b", 5));
  EXPECT_EQ(parse_tar_header(as_bytes(extended("10 size=9\n")))->entry, file("a", 9));
  for (const std::string records :
       {"8 path=b\n", "11 path=b\n", "10 path=bX", "path=b\n", "10\n", " 10 path=b\n", "010 path=b\n",
        "16 linkpath=/b\n", "10 path=b\n10 path=c\n", "10 size=x\n", "11 size=-1\n", "11 mtime=12\n",
        "19 GNU.sparse.a=b\n", "99999999999999999999 path=b\n", "7 path\n", "10 path=b\n\n",
        "25 size=9007199254740992\n"}) {
    EXPECT_EQ(reason_of(parse_tar_header(as_bytes(extended(records)))), "archive_malformed") << records;
  }
  EXPECT_EQ(reason_of(parse_tar_header(as_bytes(extended(std::string("12 path=b\0c\n", 12))))), "archive_malformed");
  std::string dirty = extended("10 path=b\n");
  dirty[600] = 'x';
  EXPECT_EQ(reason_of(parse_tar_header(as_bytes(dirty))), "archive_malformed");
  const std::string cut = extended("10 path=b\n").substr(0, 1024);
  EXPECT_EQ(reason_of(parse_tar_header(as_bytes(cut))), "archive_malformed");
}

struct Archive {
  Content content{.kind = Content::Kind::kTar};
  std::string bytes;

  void add_header(const TarEntry& entry) { bytes += header(entry); }
  void add(const std::string& path, const std::string& data, std::uint32_t mode = kPlainMode) {
    add_header(file(path, data.size(), mode));
    content.files.push_back({path, bytes.size(), data.size(), mode});
    bytes += data;
    bytes.resize((bytes.size() + 511) / 512 * 512, '\0');
  }
  void end() { bytes.append(1024, '\0'); }
};

Archive sample() {
  Archive archive;
  archive.add("a", std::string(600, 'A'));
  archive.add("b", "");
  archive.add_header({true, "d", 0, 0755});
  archive.add("d/e", std::string(512, 'E'), kExecutableMode);
  archive.add("f", "F");
  archive.end();
  return archive;
}

Result<> check_all_gaps(const Archive& archive) {
  const TarMap map = TRY(TarMap::make(archive.content, archive.bytes.size()));
  std::set<std::string> directories;
  for (std::size_t gap = 0; gap < map.gap_count(); ++gap) {
    TRY(map.check_gap(gap, as_bytes(archive.bytes).subspan(map.gap_offset(gap), map.gap_bytes(gap)), directories));
  }
  return {};
}

TEST(TarMap, PiecesCoverEveryByteOnce) {
  const Archive archive = sample();
  const auto map = TarMap::make(archive.content, archive.bytes.size());
  ASSERT_TRUE(map) << map.error().message;
  EXPECT_EQ(map->all_gap_bytes(), archive.bytes.size() - 600 - 512 - 1);
  for (const std::size_t step : {1UL, 7UL, 511UL, 512UL, 513UL, 1024UL, archive.bytes.size()}) {
    std::uint64_t at = 0;
    while (at < archive.bytes.size()) {
      const std::size_t n = std::min<std::size_t>(step, archive.bytes.size() - at);
      std::size_t covered = 0;
      for (const TarMap::Piece& piece : map->pieces(at, n)) {
        EXPECT_EQ(piece.at, covered);
        covered += piece.bytes;
        const std::uint64_t start =
            piece.is_file ? archive.content.files[piece.index].offset : map->gap_offset(piece.index);
        EXPECT_EQ(start + piece.offset, at + piece.at);
        if (piece.is_file) {
          EXPECT_LE(piece.offset + piece.bytes, archive.content.files[piece.index].bytes);
        }
      }
      EXPECT_EQ(covered, n);
      at += n;
    }
  }
  EXPECT_TRUE(map->pieces(archive.bytes.size(), 1).empty());
  EXPECT_TRUE(map->pieces(~0ULL, 2).empty());
}

TEST(TarMap, AcceptsWhatAgrees) {
  EXPECT_EQ(reason_of(check_all_gaps(sample())), "ok");
}

TEST(TarMap, RefusesWhatDisagrees) {
  const std::vector<void (*)(Archive&)> faults = {
      [](Archive& a) { a.content.files[0].path = "A"; },
      [](Archive& a) { a.content.files[0].mode = kExecutableMode; },
      [](Archive& a) { a.content.files[0].bytes -= 1; },
      [](Archive& a) {
        a.content.files[0].offset += 1;
        a.content.files[0].bytes -= 1;
      },
      [](Archive& a) { a.content.files.erase(a.content.files.begin() + 1); },
      [](Archive& a) { a.content.files.pop_back(); },
      [](Archive& a) { a.content.files[2].path = "d2/e"; },
      [](Archive& a) { a.bytes[512 + 600] = 1; },                 // padding
      [](Archive& a) { a.bytes.back() = 1; },                     // the end
      [](Archive& a) { a.bytes.resize(a.bytes.size() - 512); },   // one zero block
      [](Archive& a) { a.bytes.resize(a.bytes.size() - 1024); },  // none
      [](Archive& a) { a.bytes.resize(a.bytes.size() - 1); },
      [](Archive& a) { a.bytes[0] = 'b'; },  // checksum
      [](Archive& a) { a.bytes.append(kMaxGapBytes, '\0'); },
  };
  for (std::size_t i = 0; i < faults.size(); ++i) {
    Archive archive = sample();
    faults[i](archive);
    EXPECT_EQ(reason_of(check_all_gaps(archive)), "archive_malformed") << i;
  }
}

TEST(TarMap, RefusesDirectoriesThatTheIndexDoesNotUse) {
  for (const auto& entry :
       {TarEntry{true, "other", 0, 0755}, TarEntry{true, "d", 0, 0777}, TarEntry{true, "..", 0, 0755},
        TarEntry{true, "/d", 0, 0755}, TarEntry{true, "a", 0, 0755}, TarEntry{true, "./d", 0, 0755}}) {
    Archive archive;
    archive.add("a", "A");
    archive.add_header(entry);
    archive.add("d/e", "E");
    archive.end();
    EXPECT_EQ(reason_of(check_all_gaps(archive)), "archive_malformed") << entry.path;
  }
  Archive twice;
  twice.add_header({true, "d", 0, 0755});
  twice.add("d/e", "E");
  twice.add_header({true, "d", 0, 0755});
  twice.add("d/f", "F");
  twice.end();
  EXPECT_EQ(reason_of(check_all_gaps(twice)), "archive_malformed");
}

}  // namespace
}  // namespace tb::asset
