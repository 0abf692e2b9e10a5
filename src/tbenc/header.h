// The 32-byte header of a tbenc/v1 file (docs/spec/tbenc-v1.md section 1) and the constants of the format.
//
//   magic "TBENC001" | version u16 = 1 | algo u8 = 1 | chunk_bytes u32 | nonce_prefix 4 | reserved 13 zero bytes
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "base/bytes.h"
#include "base/crypto.h"
#include "base/result.h"

namespace tb::tbenc {

inline constexpr std::size_t kHeaderBytes = 32;
inline constexpr std::size_t kLengthBytes = 4;                            ///< pt_len in front of every record
inline constexpr std::size_t kRecordOverhead = kLengthBytes + kTagBytes;  ///< a record is pt_len + 20 bytes
inline constexpr std::uint32_t kMaxChunkBytes = 64U << 20;                ///< readers and writers
inline constexpr std::uint32_t kMinWrittenChunkBytes = 1024;              ///< writers; readers accept 1
inline constexpr std::uint32_t kDefaultChunkBytes = 4U << 20;

using NoncePrefix = std::array<std::uint8_t, 4>;

struct Header {
  std::uint32_t chunk_bytes = kDefaultChunkBytes;
  NoncePrefix nonce_prefix{};
  bool operator==(const Header&) const = default;
};

/// What an authenticated manifest says of the file: whatever is set MUST hold, else the file is refused.
struct Known {
  std::optional<std::uint64_t> plaintext_bytes;
  std::optional<std::uint32_t> chunk_bytes;
  std::optional<NoncePrefix> nonce_prefix;
};

/// A header for a new file: `chunk_bytes` as given, a random nonce prefix. "chunk_bytes_invalid" outside 1024..64 MiB.
Result<Header> new_header(std::uint32_t chunk_bytes = kDefaultChunkBytes);

/// Strict. `bytes` may be longer than 32; the rest is not looked at. "header_malformed" for fewer than 32 bytes, wrong
/// magic, version or algo, chunk_bytes of 0 or over 64 MiB, nonzero reserved bytes.
Result<Header> parse_header(ByteView bytes);

/// The one encoding of `header`.
std::array<std::uint8_t, kHeaderBytes> encode_header(const Header& header);

/// "header_mismatch" if chunk_bytes is not the known one, "nonce_prefix_mismatch" if the prefix is not.
Result<> check_header(const Header& header, const Known& known);

}  // namespace tb::tbenc
