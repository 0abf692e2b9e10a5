#include "asset/gguf.h"

#include <gtest/gtest.h>

#include "base/bytes.h"

namespace tb::asset {
namespace {

template <typename T>
std::string le(T value) {
  std::string out(sizeof value, '\0');
  std::memcpy(out.data(), &value, sizeof value);
  return out;
}
std::string text(std::string_view s) {
  return le<std::uint64_t>(s.size()) + std::string(s);
}
std::string pair(std::string_view key, std::uint32_t type, std::string value) {
  return text(key) + le(type) + value;
}
std::string array(std::uint32_t type, std::uint64_t count, std::string elements) {
  return le(type) + le(count) + elements;
}

std::string tensor(std::string_view name, std::vector<std::uint64_t> shape, std::uint32_t type, std::uint64_t offset) {
  std::string out = text(name) + le(static_cast<std::uint32_t>(shape.size()));
  for (const std::uint64_t n : shape) out += le(n);
  return out + le(type) + le(offset);
}

std::string file_of(const std::vector<std::string>& pairs, const std::vector<std::string>& tensors,
                    std::uint32_t version = 3) {
  std::string out = "GGUF" + le(version) + le<std::uint64_t>(tensors.size()) + le<std::uint64_t>(pairs.size());
  for (const auto& p : pairs) out += p;
  for (const auto& t : tensors) out += t;
  return out + std::string(64, 'w');
}

Result<GgufHeader> read(const std::string& file, std::size_t lead = 0) {
  const std::string stream = std::string(lead, '#') + file;
  return read_gguf(tbenc::MemorySource(as_bytes(stream)), lead, file.size());
}

TEST(Gguf, ReadsMetadataAndTensors) {
  std::string tokens;
  for (int i = 0; i < 20'000; ++i) tokens += text("token" + std::to_string(i));
  const std::string file =
      file_of({pair("general.architecture", 8, text("llama")), pair("u8", 0, le<std::uint8_t>(200)),
               pair("i8", 1, le<std::int8_t>(-3)), pair("i64", 11, le<std::int64_t>(-9)), pair("f", 6, le(0.5F)),
               pair("nan", 6, "\xff\xff\xff\x7f"), pair("yes", 7, le<std::uint8_t>(1)),
               pair("tokens", 9, array(8, 20'000, tokens)),
               pair("few", 9, array(4, 2, le<std::uint32_t>(7) + le<std::uint32_t>(8))),
               pair("many", 9, array(6, 9, std::string(36, '\0'))), pair("last", 10, le<std::uint64_t>(5))},
              {tensor("tok.weight", {64, 32}, 12, 0), tensor("x", {}, 99, 32)});
  for (const std::size_t lead : {0UL, 1000UL}) {
    const auto header = read(file, lead);
    ASSERT_TRUE(header) << header.error().message;
    EXPECT_EQ(header->find("general.architecture")->as_string(), "llama");
    EXPECT_EQ(header->find("u8")->as_integer(), 200);
    EXPECT_EQ(header->find("i8")->as_integer(), -3);
    EXPECT_EQ(header->find("i64")->as_integer(), -9);
    EXPECT_EQ(header->find("f")->as_double(), 0.5);
    EXPECT_EQ(header->find("nan")->dump(), "\"nan\"");
    EXPECT_TRUE(header->find("yes")->as_bool());
    EXPECT_EQ(header->find("tokens")->as_string(), "[20000 elements]");
    EXPECT_EQ(header->find("few")->dump(), "[7,8]");
    EXPECT_EQ(header->find("many")->as_string(), "[9 elements]");
    EXPECT_EQ(header->find("last")->as_integer(), 5);
    ASSERT_EQ(header->tensors.size(), 2U);
    EXPECT_EQ(header->tensors[0].type, "Q4_K");
    EXPECT_EQ(header->tensors[0].shape, (std::vector<std::uint64_t>{64, 32}));
    EXPECT_EQ(header->tensors[1].type, "type 99");
  }
  EXPECT_EQ(read(file_of({}, {}, 2))->version, 2U);
}

TEST(Gguf, EveryCutIsRefused) {
  const std::string whole = file_of({pair("a", 8, text("bc")), pair("n", 9,
                                                                    array(8, 9,
                                                                          [] {
                                                                            std::string s;
                                                                            for (int i = 0; i < 9; ++i) s += text("t");
                                                                            return s;
                                                                          }()))},
                                    {tensor("t", {4}, 0, 0)});
  const std::string header = whole.substr(0, whole.size() - 64);
  ASSERT_TRUE(read(header));
  for (std::size_t n = 0; n < header.size(); ++n) {
    const auto cut = read(header.substr(0, n));
    ASSERT_FALSE(cut) << n;
    EXPECT_EQ(cut.error().reason, "gguf_malformed");
  }
}

TEST(Gguf, RefusesWhatCannotBe) {
  const std::uint64_t huge = ~0ULL;
  const std::vector<std::string> files = {
      "GGUX" + file_of({}, {}).substr(4),
      file_of({}, {}, 1),
      file_of({}, {}, 4),
      "GGUF" + le<std::uint32_t>(3) + le(huge) + le<std::uint64_t>(0),
      "GGUF" + le<std::uint32_t>(3) + le<std::uint64_t>(0) + le(huge),
      file_of({le(huge) + "a"}, {}),
      file_of({pair("a", 13, "")}, {}),
      file_of({pair("a", 7, le<std::uint8_t>(2))}, {}),
      file_of({pair("a", 8, le(huge))}, {}),
      file_of({pair("a", 9, array(9, 1, array(0, 1, "x")))}, {}),
      file_of({pair("a", 9, array(0, huge, ""))}, {}),
      file_of({pair("a", 9, array(10, huge / 8 + 2, ""))}, {}),
      file_of({pair("a", 9, array(8, 10, le(huge)))}, {}),
      file_of({pair("\xff", 0, "x")}, {}),
      file_of({}, {tensor("t", std::vector<std::uint64_t>(9, 1), 0, 0)}),
      file_of({}, {tensor("t", {1}, 0, huge)}),
  };
  for (std::size_t i = 0; i < files.size(); ++i) {
    const auto header = read(files[i]);
    ASSERT_FALSE(header) << i;
    EXPECT_EQ(header.error().reason, "gguf_malformed") << i;
  }
}

}  // namespace
}  // namespace tb::asset
