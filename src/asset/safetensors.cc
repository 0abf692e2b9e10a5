#include "asset/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "base/bytes.h"
#include "base/json.h"

namespace tb::asset {
namespace {

// The reference implementation refuses headers above 100 MB.
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;
constexpr std::size_t kLengthBytes = 8;
constexpr std::size_t kMaxDimensions = 32;

struct Dtype {
  std::string_view name;
  std::uint64_t bits;
};
constexpr std::array kDtypes = std::to_array<Dtype>({
    {"BOOL", 8}, {"U8", 8},   {"I8", 8},    {"F8_E4M3", 8}, {"F8_E5M2", 8}, {"F8_E8M0", 8}, {"I16", 16},
    {"U16", 16}, {"F16", 16}, {"BF16", 16}, {"I32", 32},    {"U32", 32},    {"F32", 32},    {"I64", 64},
    {"U64", 64}, {"F64", 64}, {"C64", 64},  {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6},
});

std::unexpected<Error> malformed(std::string message) {
  return fail("safetensors_malformed", std::move(message));
}

Result<std::uint64_t> read_count(const Json& value) {
  if (!value.is_integer() || value.as_integer() < 0) return malformed("a safetensors shape or offset is not a count");
  return static_cast<std::uint64_t>(value.as_integer());
}

Result<std::uint64_t> elements_of(const std::vector<std::uint64_t>& shape) {
  std::uint64_t product = 1;
  for (const std::uint64_t n : shape) {
    if (__builtin_mul_overflow(product, n, &product)) return malformed("a safetensors shape is too large");
  }
  return product;
}

Result<> check_size(const SafetensorsTensor& tensor) {
  const auto dtype = std::ranges::find(kDtypes, tensor.dtype, &Dtype::name);
  if (dtype == kDtypes.end()) return malformed("a safetensors tensor has an unknown dtype");
  std::uint64_t bits = TRY(elements_of(tensor.shape));
  if (__builtin_mul_overflow(bits, dtype->bits, &bits)) return malformed("a safetensors shape is too large");
  if (tensor.begin > tensor.end || bits % 8 != 0 || bits / 8 != tensor.end - tensor.begin) {
    return malformed("a safetensors tensor's shape disagrees with its offsets");
  }
  return {};
}

Result<SafetensorsTensor> read_tensor(const std::string& name, const Json& json) {
  const Json *dtype = json.find("dtype"), *shape = json.find("shape"), *offsets = json.find("data_offsets");
  if (dtype == nullptr || !dtype->is_string() || shape == nullptr || !shape->is_array() || offsets == nullptr ||
      !offsets->is_array() || offsets->as_array().size() != 2 || shape->as_array().size() > kMaxDimensions) {
    return malformed("a safetensors tensor lacks dtype, shape or data_offsets");
  }
  SafetensorsTensor tensor{.name = name, .dtype = dtype->as_string()};
  for (const Json& n : shape->as_array()) tensor.shape.push_back(TRY(read_count(n)));
  tensor.begin = TRY(read_count(offsets->as_array()[0]));
  tensor.end = TRY(read_count(offsets->as_array()[1]));
  TRY(check_size(tensor));
  return tensor;
}

Result<> read_metadata(const Json& json, SafetensorsHeader& header) {
  if (!json.is_object()) return malformed("safetensors __metadata__ is not an object");
  for (const auto& [name, value] : json.as_object()) {
    if (!value.is_string()) return malformed("safetensors __metadata__ holds something other than text");
    header.metadata.emplace_back(name, value.as_string());
  }
  return {};
}

}  // namespace

std::uint64_t SafetensorsHeader::parameters() const {
  std::uint64_t sum = 0;
  for (const SafetensorsTensor& tensor : tensors) sum += elements_of(tensor.shape).value_or(0);
  return sum;
}

Result<SafetensorsHeader> read_safetensors(const tbenc::RandomSource& source, std::uint64_t offset,
                                           std::uint64_t bytes) {
  if (bytes < kLengthBytes) return malformed("a safetensors file is shorter than its length field");
  std::array<std::uint8_t, kLengthBytes> length_field;
  TRY(source.read_at(offset, length_field));
  const std::uint64_t length = load_le64(length_field.data());
  if (length > kMaxHeaderBytes || length > bytes - kLengthBytes) return malformed("a safetensors header is too long");
  std::string text(length, '\0');
  TRY(source.read_at(offset + kLengthBytes, {reinterpret_cast<std::uint8_t*>(text.data()), text.size()}));
  if (!text.starts_with('{')) return malformed("a safetensors header does not start with {");
  while (text.ends_with(' ')) text.pop_back();

  const auto json = Json::parse(text, {.bytes = kMaxHeaderBytes, .depth = 4, .integers_only = true});
  if (!json) return fail(Error("safetensors_malformed", "a safetensors header is not acceptable JSON", json.error()));
  SafetensorsHeader header;
  for (const auto& [name, value] : json->as_object()) {
    if (name == "__metadata__") {
      TRY(read_metadata(value, header));
    } else {
      header.tensors.push_back(TRY(read_tensor(name, value)));
    }
  }
  std::ranges::sort(header.tensors, {}, [](const SafetensorsTensor& t) { return std::pair(t.begin, t.end); });
  std::uint64_t at = 0;
  for (const SafetensorsTensor& tensor : header.tensors) {
    if (tensor.begin != at) return malformed("safetensors tensors overlap or leave holes");
    at = tensor.end;
  }
  if (at != bytes - kLengthBytes - length) return malformed("safetensors tensors do not cover the file");
  return header;
}

}  // namespace tb::asset
