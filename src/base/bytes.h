// Bytes, cursors over them, and their text forms (hex, base64, base64url).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace tb {

using Bytes = std::vector<std::uint8_t>;
using ByteView = std::span<const std::uint8_t>;
using MutableBytes = std::span<std::uint8_t>;

inline ByteView as_bytes(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
inline std::string_view as_text(ByteView bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Big-endian integers, `p` must have room for them.
void store_be16(std::uint8_t* p, std::uint16_t v);
void store_be32(std::uint8_t* p, std::uint32_t v);
void store_be64(std::uint8_t* p, std::uint64_t v);
std::uint16_t load_be16(const std::uint8_t* p);
std::uint32_t load_be32(const std::uint8_t* p);
std::uint64_t load_be64(const std::uint8_t* p);
std::uint32_t load_le32(const std::uint8_t* p);
std::uint64_t load_le64(const std::uint8_t* p);

/// Lower-case hex, two digits a byte.
std::string to_hex(ByteView bytes);
/// The same, to `at` on; gives what is behind it.
char* put_hex(ByteView bytes, char* at);
/// Accepts either case; "bad_hex" for odd length or other characters.
Result<Bytes> from_hex(std::string_view text);

/// RFC 4648 section 5, without padding.
std::string to_base64url(ByteView bytes);
/// Strict: no padding, no whitespace, zero trailing bits; else "bad_base64".
Result<Bytes> from_base64url(std::string_view text);
/// RFC 4648 section 4, with padding.
std::string to_base64(ByteView bytes);
/// Strict: padded, no whitespace, zero trailing bits; else "bad_base64".
Result<Bytes> from_base64(std::string_view text);

/// True if `text` is well-formed UTF-8 (no overlong forms, no surrogates, at most U+10FFFF).
bool is_utf8(std::string_view text);

}  // namespace tb
