// Seal and open of one record: pt_len (4) || ciphertext || tag (16).
//
// Position is an argument, not a hidden counter: records can be opened in any order and on all cores. What is promised:
// open() gives plaintext only after the tag verified over the header's first 19 bytes, the index and pt_len; when it
// fails, the output is wiped. What is not checked here: how many records there are (Layout), and that a key seals one
// file only (the caller's duty; new_header() gives every file its own prefix, which is too short to rely on).
#pragma once

#include <cstdint>

#include "base/crypto.h"
#include "tbenc/header.h"

namespace tb::tbenc {

/// pt_len of a record's first four bytes: "record_malformed" if it is 0 or over `header.chunk_bytes`.
Result<std::uint32_t> parse_record_length(ByteView record, const Header& header);

/// One key and one header. Not reentrant: one object a thread, see clone().
class ChunkCipher {
 public:
  ChunkCipher(const FileKey& key, const Header& header);
  ChunkCipher clone() const { return ChunkCipher(key_, header_); }
  const Header& header() const { return header_; }

  /// Writes record `index`. Needs 1 <= plain.size() <= chunk_bytes and record.size() == plain.size() + 20. In place:
  /// `plain` may be record.subspan(4, plain.size()); otherwise the two must not overlap.
  void seal(std::uint64_t index, ByteView plain, MutableBytes record);

  /// Opens record `index` into `plain`, whose size is what the layout says of this chunk. In place: `plain` may be the
  /// record's own bytes from 4 on. "record_malformed" if pt_len is 0, over chunk_bytes or not plain.size(),
  /// "record_truncated" if the record is shorter than pt_len + 20, "tag_mismatch" otherwise: `plain` is then wiped.
  Result<> open(std::uint64_t index, ByteView record, MutableBytes plain);

 private:
  friend class RecordOpening;
  Result<> begin_open(std::uint64_t index, ByteView record, std::size_t plain_bytes);
  void open_piece(ByteView cipher, MutableBytes plain) { gcm_.open_piece(cipher, plain); }
  Result<> finish_open(std::uint64_t index, std::span<const std::uint8_t, kTagBytes> tag);

  FileKey key_;
  Header header_;
  std::array<std::uint8_t, kHeaderBytes> encoded_;
  Aes256Gcm gcm_;
};

}  // namespace tb::tbenc
