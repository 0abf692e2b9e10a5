#include "tbenc/chunk.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/secret.h"

namespace tb::tbenc {
namespace {

constexpr std::size_t kAadHeaderBytes = 19;
constexpr std::size_t kAadBytes = kAadHeaderBytes + 8 + 4;

struct Position {
  std::array<std::uint8_t, kNonceBytes> nonce;
  std::array<std::uint8_t, kAadBytes> aad;
};

// nonce = prefix || index, aad = header[0..18] || index || pt_len (docs/spec/tbenc-v1.md section 1).
Position position_of(const Header& header, ByteView encoded_header, std::uint64_t index, std::uint32_t plain_bytes) {
  Position out;
  std::ranges::copy(header.nonce_prefix, out.nonce.begin());
  store_be64(&out.nonce[header.nonce_prefix.size()], index);
  std::ranges::copy(encoded_header.first(kAadHeaderBytes), out.aad.begin());
  store_be64(&out.aad[kAadHeaderBytes], index);
  store_be32(&out.aad[kAadHeaderBytes + 8], plain_bytes);
  return out;
}

}  // namespace

Result<std::uint32_t> parse_record_length(ByteView record, const Header& header) {
  if (record.size() < kLengthBytes) {
    return fail("record_truncated", fmt::format("a record of {} bytes is cut in its length", record.size()));
  }
  const std::uint32_t plain_bytes = load_be32(record.data());
  if (plain_bytes == 0 || plain_bytes > header.chunk_bytes) {
    return fail("record_malformed", fmt::format("a record says {} bytes of plaintext, the chunk size is {}",
                                                plain_bytes, header.chunk_bytes));
  }
  return plain_bytes;
}

ChunkCipher::ChunkCipher(const FileKey& key, const Header& header)
    : key_(key.clone()), header_(header), encoded_(encode_header(header)), gcm_(key) {}

void ChunkCipher::seal(std::uint64_t index, ByteView plain, MutableBytes record) {
  const auto at = position_of(header_, encoded_, index, static_cast<std::uint32_t>(plain.size()));
  store_be32(record.data(), static_cast<std::uint32_t>(plain.size()));
  gcm_.seal(at.nonce, at.aad, plain, record.subspan(kLengthBytes, plain.size()), record.last<kTagBytes>());
}

Result<> ChunkCipher::begin_open(std::uint64_t index, ByteView record, std::size_t plain_bytes) {
  const std::uint32_t said = TRY(parse_record_length(record, header_));
  if (said != plain_bytes) {
    return fail("record_malformed",
                fmt::format("record {} says {} bytes of plaintext where {} belong", index, said, plain_bytes));
  }
  const auto at = position_of(header_, encoded_, index, said);
  gcm_.begin_open(at.nonce, at.aad);
  return {};
}

Result<> ChunkCipher::finish_open(std::uint64_t index, std::span<const std::uint8_t, kTagBytes> tag) {
  if (gcm_.finish_open(tag)) return {};
  return fail("tag_mismatch", fmt::format("record {} does not verify: changed, moved, or another key", index));
}

Result<> ChunkCipher::open(std::uint64_t index, ByteView record, MutableBytes plain) {
  TRY(begin_open(index, record, plain.size()));
  if (record.size() < plain.size() + kRecordOverhead) {
    return fail("record_truncated",
                fmt::format("record {} has {} bytes of {}", index, record.size(), plain.size() + kRecordOverhead));
  }
  open_piece(record.subspan(kLengthBytes, plain.size()), plain);
  auto finished = finish_open(index, record.subspan(kLengthBytes + plain.size()).first<kTagBytes>());
  if (!finished) wipe(plain.data(), plain.size());
  return finished;
}

}  // namespace tb::tbenc
