#include "base/bytes.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace tb {
namespace {

constexpr std::array<std::array<char, 2>, 256> kHexPairs = [] {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::array<std::array<char, 2>, 256> out{};
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = {kDigits[i >> 4], kDigits[i & 15]};
  return out;
}();
constexpr std::string_view kBase64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr std::string_view kBase64Url = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string encode64(ByteView bytes, std::string_view alphabet, bool padded) {
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t have = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = std::uint32_t{bytes[i]} << 16;
    if (have > 1) group |= std::uint32_t{bytes[i + 1]} << 8;
    if (have > 2) group |= bytes[i + 2];
    for (std::size_t k = 0; k <= have; ++k) out += alphabet[(group >> (18 - 6 * k)) & 63];
    if (padded) out.append(3 - have, '=');
  }
  return out;
}

Result<Bytes> decode64(std::string_view text, std::string_view alphabet, bool padded) {
  const auto refuse = [](std::string_view why) { return fail("bad_base64", fmt::format("base64: {}", why)); };
  if (padded) {
    if (text.size() % 4 != 0) return refuse("length is not a multiple of 4");
    for (int i = 0; i < 2 && text.ends_with('='); ++i) text.remove_suffix(1);
  }
  if (text.size() % 4 == 1) return refuse("impossible length");
  std::array<std::int8_t, 256> value;
  value.fill(-1);
  for (std::size_t i = 0; i < 64; ++i) value[static_cast<unsigned char>(alphabet[i])] = static_cast<std::int8_t>(i);
  Bytes out;
  out.reserve(text.size() / 4 * 3 + 2);
  std::uint32_t group = 0;
  int bits = 0;
  for (const char c : text) {
    const int v = value[static_cast<unsigned char>(c)];
    if (v < 0) return refuse("a character is outside the alphabet");
    group = (group << 6) | static_cast<std::uint32_t>(v);
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      out.push_back(static_cast<std::uint8_t>(group >> bits));
      group &= (1U << bits) - 1;
    }
  }
  if (group != 0) return refuse("trailing bits are not zero");
  return out;
}

template <typename T>
void store_be(std::uint8_t* p, T v) {
  for (std::size_t i = sizeof(T); i-- > 0; v = static_cast<T>(v >> 8)) p[i] = static_cast<std::uint8_t>(v);
}
template <typename T>
T load_be(const std::uint8_t* p) {
  T v = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) v = static_cast<T>((v << 8) | p[i]);
  return v;
}

}  // namespace

void store_be16(std::uint8_t* p, std::uint16_t v) {
  p[0] = static_cast<std::uint8_t>(v >> 8);
  p[1] = static_cast<std::uint8_t>(v);
}
void store_be32(std::uint8_t* p, std::uint32_t v) {
  store_be(p, v);
}
void store_be64(std::uint8_t* p, std::uint64_t v) {
  store_be(p, v);
}
std::uint16_t load_be16(const std::uint8_t* p) {
  return static_cast<std::uint16_t>((p[0] << 8) | p[1]);
}
std::uint32_t load_be32(const std::uint8_t* p) {
  return load_be<std::uint32_t>(p);
}
std::uint64_t load_be64(const std::uint8_t* p) {
  return load_be<std::uint64_t>(p);
}
std::uint32_t load_le32(const std::uint8_t* p) {
  return std::uint32_t{p[0]} | std::uint32_t{p[1]} << 8 | std::uint32_t{p[2]} << 16 | std::uint32_t{p[3]} << 24;
}
std::uint64_t load_le64(const std::uint8_t* p) {
  return std::uint64_t{load_le32(p)} | std::uint64_t{load_le32(p + 4)} << 32;
}

char* put_hex(ByteView bytes, char* at) {
  for (const std::uint8_t b : bytes) at = std::ranges::copy(kHexPairs[b], at).out;
  return at;
}

std::string to_hex(ByteView bytes) {
  std::string out(bytes.size() * 2, '\0');
  put_hex(bytes, out.data());
  return out;
}

Result<Bytes> from_hex(std::string_view text) {
  if (text.size() % 2 != 0) return fail("bad_hex", "hex: odd number of digits");
  Bytes out(text.size() / 2);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const int high = hex_value(text[2 * i]);
    const int low = hex_value(text[2 * i + 1]);
    if (high < 0 || low < 0) return fail("bad_hex", fmt::format("hex: no digit near position {}", 2 * i));
    out[i] = static_cast<std::uint8_t>(high * 16 + low);
  }
  return out;
}

std::string to_base64url(ByteView bytes) {
  return encode64(bytes, kBase64Url, false);
}
Result<Bytes> from_base64url(std::string_view text) {
  return decode64(text, kBase64Url, false);
}
std::string to_base64(ByteView bytes) {
  return encode64(bytes, kBase64, true);
}
Result<Bytes> from_base64(std::string_view text) {
  return decode64(text, kBase64, true);
}

bool is_utf8(std::string_view text) {
  const auto* p = reinterpret_cast<const unsigned char*>(text.data());
  const auto* const end = p + text.size();
  while (p < end) {
    const unsigned char lead = *p++;
    if (lead < 0x80) continue;
    int more = 0;
    std::uint32_t point = 0;
    std::uint32_t least = 0;
    if (lead >= 0xC2 && lead <= 0xDF) {
      more = 1, point = lead & 0x1FU, least = 0x80;
    } else if ((lead & 0xF0) == 0xE0) {
      more = 2, point = lead & 0x0FU, least = 0x800;
    } else if (lead >= 0xF0 && lead <= 0xF4) {
      more = 3, point = lead & 0x07U, least = 0x10000;
    } else {
      return false;
    }
    if (end - p < more) return false;
    for (; more > 0; --more, ++p) {
      if ((*p & 0xC0) != 0x80) return false;
      point = (point << 6) | (*p & 0x3FU);
    }
    if (point < least || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF)) return false;
  }
  return true;
}

}  // namespace tb
