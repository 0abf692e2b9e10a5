// Records in the order of the file, without opening them: the one place that knows how a sequential reader tells the
// last record, a cut, and bytes that follow (docs/spec/tbenc-v1.md section 3).
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "tbenc/header.h"
#include "tbenc/layout.h"
#include "tbenc/source.h"

namespace tb::tbenc {

class RecordReader {
 public:
  /// Reads and checks the header; `source` must outlive the reader. Errors of parse_header, check_header and Layout.
  static Result<RecordReader> open(PullSource& source, const Known& known);

  /// Reads the next record to the front of `room`, which has room_bytes() at least, and returns its pt_len; 0 at the
  /// end of the file. "record_malformed" for a bad pt_len or a short record that is not the last, "record_truncated"
  /// for a cut in a record, and with a known plaintext length "ciphertext_truncated" and "trailing_bytes".
  Result<std::uint32_t> next(MutableBytes room);

  const Header& header() const { return header_; }
  /// The largest record of this file and the length field that is read along with it.
  std::size_t room_bytes() const;
  /// Records read so far: the index of the one that next() will read.
  std::uint64_t index() const { return index_; }
  /// True once next() gave the end and the plaintext length was known beforehand.
  bool end_authenticated() const { return ended_ && layout_.has_value(); }

 private:
  RecordReader(PullSource& source, const Header& header, std::optional<Layout> layout)
      : source_(&source), header_(header), layout_(layout) {}
  Result<std::uint32_t> end();

  PullSource* source_;
  Header header_;
  std::optional<Layout> layout_;
  std::array<std::uint8_t, kLengthBytes> ahead_{};  ///< the next record's length field
  std::size_t held_ = 0;                            ///< bytes of it that were read already
  std::uint64_t index_ = 0;
  bool ended_ = false;
};

}  // namespace tb::tbenc
