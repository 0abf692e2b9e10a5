#include "tbenc/record_reader.h"

#include <fmt/format.h>

#include <algorithm>

#include "tbenc/chunk.h"

namespace tb::tbenc {

Result<RecordReader> RecordReader::open(PullSource& source, const Known& known) {
  std::array<std::uint8_t, kHeaderBytes> encoded{};
  const std::size_t got = TRY(source.read(encoded));
  const Header header = TRY(parse_header(ByteView(encoded).first(got)));
  TRY(check_header(header, known));
  std::optional<Layout> layout;
  if (known.plaintext_bytes) layout = TRY(Layout::from_plaintext(*known.plaintext_bytes, header.chunk_bytes));
  return RecordReader(source, header, layout);
}

std::size_t RecordReader::room_bytes() const {
  std::uint64_t plain_bytes = header_.chunk_bytes;
  if (layout_) plain_bytes = std::min(plain_bytes, layout_->plaintext_bytes());
  return static_cast<std::size_t>(plain_bytes) + kRecordOverhead + kLengthBytes;
}

Result<std::uint32_t> RecordReader::next(MutableBytes room) {
  if (ended_) return 0;
  held_ += TRY(source_->read(MutableBytes(ahead_).subspan(held_)));
  if (held_ == 0 || (layout_ && index_ == layout_->chunk_count())) return end();
  const std::uint32_t plain_bytes = TRY(parse_record_length(ByteView(ahead_).first(held_), header_));
  if (layout_ && plain_bytes != layout_->chunk_plain_bytes(index_)) {
    return fail("record_malformed", fmt::format("record {} says {} bytes of plaintext where {} belong", index_,
                                                plain_bytes, layout_->chunk_plain_bytes(index_)));
  }

  // In the same read, the length field behind it: so a short record knows whether it is the last.
  const std::size_t record_bytes = plain_bytes + kRecordOverhead;
  std::ranges::copy(ahead_, room.begin());
  const std::size_t got = kLengthBytes + TRY(source_->read(room.subspan(kLengthBytes, record_bytes)));
  if (got < record_bytes) {
    return fail("record_truncated", fmt::format("record {} has {} bytes of {}", index_, got, record_bytes));
  }
  held_ = got - record_bytes;
  std::ranges::copy(room.subspan(record_bytes, held_), ahead_.begin());
  if (plain_bytes < header_.chunk_bytes && held_ != 0 && !layout_) {
    if (held_ < kLengthBytes) return fail("record_truncated", fmt::format("{} bytes follow the last record", held_));
    return fail("record_malformed", fmt::format("record {} is short and not the last", index_));
  }
  ++index_;
  return plain_bytes;
}

Result<std::uint32_t> RecordReader::end() {
  if (held_ != 0) return fail("trailing_bytes", "bytes follow the last record");
  if (layout_ && index_ < layout_->chunk_count()) {
    return fail("ciphertext_truncated", fmt::format("the file has {} records of {}", index_, layout_->chunk_count()));
  }
  ended_ = true;
  return 0;
}

}  // namespace tb::tbenc
