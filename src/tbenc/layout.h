// The one valid chunking (docs/spec/tbenc-v1.md section 2) as pure arithmetic that every reader and writer uses.
// A Layout can only be made with sizes whose every offset fits a signed 64-bit file offset, so nothing below overflows.
#pragma once

#include <cstdint>

#include "base/result.h"

namespace tb::tbenc {

/// Largest file that a Layout describes: what a file offset can hold.
inline constexpr std::uint64_t kMaxFileBytes = (std::uint64_t{1} << 63) - 1;

class Layout {
 public:
  /// "chunk_bytes_invalid" for a chunk size of 0 or over 64 MiB, "size_overflow" if the file would pass kMaxFileBytes.
  static Result<Layout> from_plaintext(std::uint64_t plaintext_bytes, std::uint32_t chunk_bytes);
  /// The layout of a file of that many bytes, header included. "header_malformed" under 32 bytes, "record_truncated" if
  /// no plaintext gives this size (the last record is cut), "chunk_bytes_invalid", "size_overflow".
  static Result<Layout> from_ciphertext(std::uint64_t ciphertext_bytes, std::uint32_t chunk_bytes);

  std::uint64_t plaintext_bytes() const { return plaintext_bytes_; }
  std::uint32_t chunk_bytes() const { return chunk_bytes_; }
  /// Size of the whole file, header included.
  std::uint64_t ciphertext_bytes() const;
  /// Records in the file: 0 for empty plaintext.
  std::uint64_t chunk_count() const;

  // index < chunk_count() in all of these.
  /// Where record `index` starts in the file.
  std::uint64_t record_offset(std::uint64_t index) const;
  /// pt_len + 20.
  std::uint64_t record_bytes(std::uint64_t index) const;
  /// pt_len of record `index`.
  std::uint32_t chunk_plain_bytes(std::uint64_t index) const;
  /// Where the plaintext of record `index` starts in the plaintext.
  std::uint64_t plain_offset(std::uint64_t index) const;

  /// The chunk that holds plaintext byte `offset` < plaintext_bytes().
  std::uint64_t chunk_of(std::uint64_t offset) const { return offset / chunk_bytes_; }

  /// A file of `actual_bytes` against this layout: "ciphertext_truncated" if shorter, "trailing_bytes" if longer.
  Result<> check_file_bytes(std::uint64_t actual_bytes) const;

  bool operator==(const Layout&) const = default;

 private:
  Layout(std::uint64_t plaintext_bytes, std::uint32_t chunk_bytes)
      : plaintext_bytes_(plaintext_bytes), chunk_bytes_(chunk_bytes) {}
  std::uint64_t plaintext_bytes_;
  std::uint32_t chunk_bytes_;
};

}  // namespace tb::tbenc
