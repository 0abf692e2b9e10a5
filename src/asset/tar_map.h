// Where every byte of a tar stream belongs, by the content index: to a file, or to a gap between two files, which holds
// headers and zero padding. Pure arithmetic, shared by everything that takes a tar apart (unpack, deliver, verify).
//
// The index alone says where files' bytes go; check_gap() then proves that the headers in the stream say the same, so
// that `tar x` of the stream and a reader by index see one model. Normative: tbenc-v1 section 6.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "asset/content.h"
#include "base/bytes.h"
#include "base/result.h"

namespace tb::asset {

/// No gap of a sound archive comes near this: "archive_malformed" above it.
inline constexpr std::uint64_t kMaxGapBytes = std::uint64_t{1} << 20;

class TarMap {
 public:
  /// A run of stream bytes that belong together.
  struct Piece {
    bool is_file = false;
    std::size_t index = 0;  ///< of the file, or of the gap before file `index` (files.size(): the end of the archive)
    std::uint64_t offset = 0;  ///< within the file or gap
    std::size_t at = 0;        ///< within the span that was asked for
    std::size_t bytes = 0;
  };

  /// `content` is a validated tar and outlives the map. "archive_malformed" for an impossible gap.
  static Result<TarMap> make(const Content& content, std::uint64_t plaintext_bytes);

  std::size_t gap_count() const { return content_->files.size() + 1; }
  std::uint64_t gap_offset(std::size_t gap) const;
  std::uint64_t gap_bytes(std::size_t gap) const;
  /// Of all gaps together: what a reader in any order must hold to check them at the end.
  std::uint64_t all_gap_bytes() const;

  /// The pieces of stream bytes [offset, offset + bytes), in order. Within plaintext_bytes, else empty.
  std::vector<Piece> pieces(std::uint64_t offset, std::size_t bytes) const;

  /// The bytes of one whole gap: padding of the file before, then headers of directories on indexed paths (each once,
  /// remembered in `directories`) and of the file after, which must agree with the index; or the end of the archive.
  /// "archive_malformed" otherwise.
  Result<> check_gap(std::size_t gap, ByteView bytes, std::set<std::string>& directories) const;

 private:
  TarMap(const Content& content, std::uint64_t plaintext_bytes) : content_(&content), total_(plaintext_bytes) {}
  bool is_indexed_directory(std::string_view path) const;

  const Content* content_;
  std::uint64_t total_;
};

}  // namespace tb::asset
