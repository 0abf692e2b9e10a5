#include "asset/safetensors.h"

#include <gtest/gtest.h>

#include "base/bytes.h"

namespace tb::asset {
namespace {

std::string file_of(const std::string& json, std::size_t data_bytes) {
  std::string out(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) out[i] = static_cast<char>(json.size() >> (8 * i));
  return out + json + std::string(data_bytes, 'd');
}

Result<SafetensorsHeader> read(const std::string& file, std::size_t lead = 0) {
  const std::string stream = std::string(lead, '#') + file;
  return read_safetensors(tbenc::MemorySource(as_bytes(stream)), lead, file.size());
}

constexpr const char* kTwo =
    R"({"__metadata__":{"format":"pt"},"b":{"dtype":"F16","shape":[2,3],"data_offsets":[8,20]},)"
    R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}   )";

TEST(Safetensors, ReadsTensorsInTheirPlace) {
  const auto header = read(file_of(kTwo, 20), 100);
  ASSERT_TRUE(header) << header.error().message;
  ASSERT_EQ(header->tensors.size(), 2U);
  EXPECT_EQ(header->tensors[0].name, "a");
  EXPECT_EQ(header->tensors[1].shape, (std::vector<std::uint64_t>{2, 3}));
  EXPECT_EQ(header->tensors[1].begin, 8U);
  EXPECT_EQ(header->metadata[0].second, "pt");
  EXPECT_EQ(header->parameters(), 8U);
  EXPECT_TRUE(read(file_of("{}", 0)));
  EXPECT_TRUE(read(file_of(R"({"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})", 4)));
}

TEST(Safetensors, RefusesWhatDoesNotAddUp) {
  const std::vector<std::string> files = {
      "",
      "1234567",
      file_of("{}", 0).substr(0, 9),
      std::string(8, '\xff') + "{}",
      file_of(kTwo, 19),
      file_of(kTwo, 21),
      file_of(" {}", 0),
      file_of("[]", 0),
      file_of("{", 0),
      file_of("{}x", 0),
      file_of(std::string(1 << 20, '['), 0),
      file_of(R"({"a":1})", 0),
      file_of(R"({"__metadata__":[]})", 0),
      file_of(R"({"__metadata__":{"a":1}})", 0),
      file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,7]}})", 7),
      file_of(R"({"a":{"dtype":"Q99","shape":[2],"data_offsets":[0,8]}})", 8),
      file_of(R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8),
      file_of(R"({"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})", 8),
      file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8),
      file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,9]}})", 8),
      file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", 12),
      file_of(R"({"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0),
      file_of(
          R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"b":{"dtype":"U8","shape":[4],"data_offsets":[2,6]}})",
          6),
      file_of(
          R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}})",
          8)};
  for (const std::string& file : files) {
    const auto header = read(file);
    ASSERT_FALSE(header) << file.substr(0, 100);
    EXPECT_EQ(header.error().reason, "safetensors_malformed") << file.substr(0, 100);
  }
}

}  // namespace
}  // namespace tb::asset
