#include "asset/gguf.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <memory>

#include "base/bytes.h"

namespace tb::asset {
namespace {

constexpr std::uint64_t kMaxKeyBytes = 65535;
constexpr std::uint64_t kMaxTextBytes = std::uint64_t{1} << 24;  // chat templates and the like
constexpr std::uint64_t kMaxPairs = 65536;
constexpr std::uint64_t kMaxTensors = std::uint64_t{1} << 20;
constexpr std::uint32_t kMaxDimensions = 8;
constexpr std::uint64_t kShownElements = 8;
constexpr std::size_t kBufferBytes = std::size_t{64} << 10;

enum Type : std::uint32_t { kU8, kI8, kU16, kI16, kU32, kI32, kF32, kBool, kString, kArray, kU64, kI64, kF64 };

constexpr std::array<std::string_view, 40> kTensorTypes = {
    "F32",    "F16",   "Q4_0",  "Q4_1",   "",      "",      "Q5_0",    "Q5_1",   "Q8_0",    "Q8_1",
    "Q2_K",   "Q3_K",  "Q4_K",  "Q5_K",   "Q6_K",  "Q8_K",  "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S",
    "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS", "I8",    "I16",   "I32",     "I64",    "F64",     "IQ1_M",
    "BF16",   "",      "",      "",       "TQ1_0", "TQ2_0", "",        "",       "",        "MXFP4"};

std::unexpected<Error> malformed(std::string message) {
  return fail("gguf_malformed", std::move(message));
}

std::string type_name(std::uint32_t type) {
  if (type < kTensorTypes.size() && !kTensorTypes[type].empty()) return std::string(kTensorTypes[type]);
  return fmt::format("type {}", type);
}

/// Bytes of a value of fixed size; 0 for text and arrays.
std::uint64_t width_of(std::uint32_t type) {
  switch (type) {
    case kU8:
    case kI8:
    case kBool:
      return 1;
    case kU16:
    case kI16:
      return 2;
    case kU32:
    case kI32:
    case kF32:
      return 4;
    case kU64:
    case kI64:
    case kF64:
      return 8;
    default:
      return 0;
  }
}

/// Reads forward through a buffer; every length is checked against what is left of the file before it is believed.
class Cursor {
 public:
  Cursor(const tbenc::RandomSource& source, std::uint64_t offset, std::uint64_t bytes)
      : source_(source), at_(offset), end_(offset + bytes), buffer_(kBufferBytes) {}

  std::uint64_t left() const { return end_ - at_; }

  Result<> skip(std::uint64_t bytes) {
    if (bytes > left()) return malformed("a GGUF header is cut short");
    at_ += bytes;
    return {};
  }

  Result<> read(MutableBytes out) {
    if (out.size() > left()) return malformed("a GGUF header is cut short");
    if (out.size() > buffer_.size()) {
      TRY(source_.read_at(at_, out));
    } else {
      if (at_ < start_ || at_ + out.size() > start_ + filled_) TRY(fill());
      std::copy_n(buffer_.begin() + static_cast<std::ptrdiff_t>(at_ - start_), out.size(), out.begin());
    }
    at_ += out.size();
    return {};
  }

  Result<std::uint32_t> u32() {
    std::array<std::uint8_t, 4> bytes;
    TRY(read(bytes));
    return load_le32(bytes.data());
  }
  Result<std::uint64_t> u64() {
    std::array<std::uint8_t, 8> bytes;
    TRY(read(bytes));
    return load_le64(bytes.data());
  }
  Result<std::string> text(std::uint64_t max_bytes) {
    const std::uint64_t length = TRY(u64());
    if (length > max_bytes || length > left()) return malformed("a GGUF string is too long");
    std::string out(length, '\0');
    TRY(read({reinterpret_cast<std::uint8_t*>(out.data()), out.size()}));
    return out;
  }

 private:
  Result<> fill() {
    start_ = at_;
    filled_ = static_cast<std::size_t>(std::min<std::uint64_t>(buffer_.size(), left()));
    return source_.read_at(start_, MutableBytes(buffer_).first(filled_));
  }

  const tbenc::RandomSource& source_;
  std::uint64_t at_, end_;
  Bytes buffer_;
  std::uint64_t start_ = 0;
  std::size_t filled_ = 0;
};

/// JSON has no infinity and no NaN.
Json real(double value) {
  return std::isfinite(value) ? Json::real(value) : Json(fmt::format("{}", value));
}

Result<Json> read_scalar(Cursor& cursor, std::uint32_t type) {
  if (type == kString) {
    std::string text = TRY(cursor.text(kMaxTextBytes));
    return is_utf8(text) ? Json(std::move(text)) : Json(fmt::format("[{} bytes]", text.size()));
  }
  const std::uint64_t width = width_of(type);
  if (width == 0) return malformed("a GGUF value has an unknown type");
  std::array<std::uint8_t, 8> bytes{};
  TRY(cursor.read(MutableBytes(bytes).first(width)));
  const std::uint64_t raw = load_le64(bytes.data());
  switch (type) {
    case kBool:
      if (raw > 1) return malformed("a GGUF boolean is neither 0 nor 1");
      return Json(raw == 1);
    case kI8:
      return Json(static_cast<int>(static_cast<std::int8_t>(raw)));
    case kI16:
      return Json(static_cast<int>(static_cast<std::int16_t>(raw)));
    case kI32:
      return Json(static_cast<int>(static_cast<std::int32_t>(raw)));
    case kI64:
      return Json(static_cast<std::int64_t>(raw));
    case kF32:
      return real(static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(raw))));
    case kF64:
      return real(std::bit_cast<double>(raw));
    default:
      return Json(raw);
  }
}

Result<Json> read_array(Cursor& cursor) {
  const std::uint32_t type = TRY(cursor.u32());
  const std::uint64_t count = TRY(cursor.u64());
  const std::uint64_t width = width_of(type);
  if (type == kArray || (width == 0 && type != kString)) return malformed("a GGUF array has an unknown element type");
  if (count > cursor.left()) return malformed("a GGUF array is longer than its file");
  if (count <= kShownElements) {
    Json array = Json::array();
    for (std::uint64_t i = 0; i < count; ++i) array.push(TRY(read_scalar(cursor, type)));
    return array;
  }
  if (type == kString) {
    for (std::uint64_t i = 0; i < count; ++i) {
      const std::uint64_t length = TRY(cursor.u64());
      TRY(cursor.skip(length));
    }
  } else {
    if (count > std::numeric_limits<std::uint64_t>::max() / width) return malformed("a GGUF array is too long");
    TRY(cursor.skip(count * width));
  }
  return Json(fmt::format("[{} elements]", count));
}

Result<GgufTensor> read_tensor(Cursor& cursor) {
  GgufTensor tensor;
  tensor.name = TRY(cursor.text(kMaxKeyBytes));
  if (!is_utf8(tensor.name)) return malformed("a GGUF tensor's name is not UTF-8");
  const std::uint32_t dimensions = TRY(cursor.u32());
  if (dimensions > kMaxDimensions) return malformed("a GGUF tensor has too many dimensions");
  for (std::uint32_t i = 0; i < dimensions; ++i) tensor.shape.push_back(TRY(cursor.u64()));
  tensor.type = type_name(TRY(cursor.u32()));
  tensor.offset = TRY(cursor.u64());
  if (tensor.offset > cursor.left()) return malformed("a GGUF tensor lies beyond the file");
  return tensor;
}

}  // namespace

const Json* GgufHeader::find(std::string_view key) const {
  const auto found = std::ranges::find(metadata, key, &std::pair<std::string, Json>::first);
  return found != metadata.end() ? &found->second : nullptr;
}

Result<GgufHeader> read_gguf(const tbenc::RandomSource& source, std::uint64_t offset, std::uint64_t bytes) {
  Cursor cursor(source, offset, bytes);
  std::array<std::uint8_t, 4> magic;
  TRY(cursor.read(magic));
  if (as_text(magic) != "GGUF") return malformed("the file does not start with GGUF");
  GgufHeader header;
  header.version = TRY(cursor.u32());
  if (header.version != 2 && header.version != 3) return malformed("a GGUF version other than 2 and 3, or big-endian");
  const std::uint64_t tensors = TRY(cursor.u64());
  const std::uint64_t pairs = TRY(cursor.u64());
  if (tensors > kMaxTensors || pairs > kMaxPairs) return malformed("a GGUF header counts too many entries");
  std::uint64_t text_bytes = 0;
  for (std::uint64_t i = 0; i < pairs; ++i) {
    std::string key = TRY(cursor.text(kMaxKeyBytes));
    if (!is_utf8(key)) return malformed("a GGUF key is not UTF-8");
    const std::uint32_t type = TRY(cursor.u32());
    Json value = TRY(type == kArray ? read_array(cursor) : read_scalar(cursor, type));
    text_bytes += key.size() + (value.is_string() ? value.as_string().size() : 0);
    if (text_bytes > kMaxTextBytes) return malformed("a GGUF header holds too much text");
    header.metadata.emplace_back(std::move(key), std::move(value));
  }
  for (std::uint64_t i = 0; i < tensors; ++i) header.tensors.push_back(TRY(read_tensor(cursor)));
  return header;
}

}  // namespace tb::asset
