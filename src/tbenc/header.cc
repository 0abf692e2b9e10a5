#include "tbenc/header.h"

#include <fmt/format.h>

#include <algorithm>

namespace tb::tbenc {
namespace {

constexpr std::string_view kMagic = "TBENC001";
constexpr std::uint16_t kVersion = 1;
constexpr std::uint8_t kAlgoAes256GcmChunked = 1;
constexpr std::size_t kVersionAt = 8;
constexpr std::size_t kAlgoAt = 10;
constexpr std::size_t kChunkBytesAt = 11;
constexpr std::size_t kNoncePrefixAt = 15;
constexpr std::size_t kReservedAt = 19;

}  // namespace

Result<Header> new_header(std::uint32_t chunk_bytes) {
  if (chunk_bytes < kMinWrittenChunkBytes || chunk_bytes > kMaxChunkBytes) {
    return fail("chunk_bytes_invalid", fmt::format("a chunk size of {} bytes is outside {} to {}", chunk_bytes,
                                                   kMinWrittenChunkBytes, kMaxChunkBytes));
  }
  Header header{.chunk_bytes = chunk_bytes};
  random_bytes(header.nonce_prefix);
  return header;
}

Result<Header> parse_header(ByteView bytes) {
  if (bytes.size() < kHeaderBytes) {
    return fail("header_malformed", fmt::format("the file has {} bytes, a header has {}", bytes.size(), kHeaderBytes));
  }
  if (as_text(bytes.first(kMagic.size())) != kMagic) {
    return fail("header_malformed", "the file does not start with TBENC001");
  }
  if (const auto version = load_be16(&bytes[kVersionAt]); version != kVersion) {
    return fail("header_malformed", fmt::format("version {} is not supported", version));
  }
  if (const auto algo = bytes[kAlgoAt]; algo != kAlgoAes256GcmChunked) {
    return fail("header_malformed", fmt::format("algorithm {} is not supported", algo));
  }
  Header header{.chunk_bytes = load_be32(&bytes[kChunkBytesAt])};
  if (header.chunk_bytes == 0 || header.chunk_bytes > kMaxChunkBytes) {
    return fail("header_malformed",
                fmt::format("a chunk size of {} bytes is outside 1 to {}", header.chunk_bytes, kMaxChunkBytes));
  }
  const auto reserved = bytes.subspan(kReservedAt, kHeaderBytes - kReservedAt);
  if (std::ranges::any_of(reserved, [](std::uint8_t byte) { return byte != 0; })) {
    return fail("header_malformed", "reserved bytes of the header are not zero");
  }
  std::ranges::copy(bytes.subspan(kNoncePrefixAt, header.nonce_prefix.size()), header.nonce_prefix.begin());
  return header;
}

std::array<std::uint8_t, kHeaderBytes> encode_header(const Header& header) {
  std::array<std::uint8_t, kHeaderBytes> out{};
  std::ranges::copy(as_bytes(kMagic), out.begin());
  store_be16(&out[kVersionAt], kVersion);
  out[kAlgoAt] = kAlgoAes256GcmChunked;
  store_be32(&out[kChunkBytesAt], header.chunk_bytes);
  std::ranges::copy(header.nonce_prefix, out.begin() + kNoncePrefixAt);
  return out;
}

Result<> check_header(const Header& header, const Known& known) {
  if (known.chunk_bytes && *known.chunk_bytes != header.chunk_bytes) {
    return fail("header_mismatch", fmt::format("the file has chunks of {} bytes, its manifest says {}",
                                               header.chunk_bytes, *known.chunk_bytes));
  }
  if (known.nonce_prefix && *known.nonce_prefix != header.nonce_prefix) {
    return fail("nonce_prefix_mismatch", "the file's nonce prefix is not the one of its manifest");
  }
  return {};
}

}  // namespace tb::tbenc
