#include "tbenc/stream.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace tb::tbenc {

StreamReader::StreamReader(const FileKey& key, const Header& header, PullSource& source, std::optional<Layout> layout)
    : cipher_(key, header), source_(&source), layout_(layout) {
  const std::uint64_t largest =
      layout ? std::min<std::uint64_t>(header.chunk_bytes, layout->plaintext_bytes()) : header.chunk_bytes;
  // Room for the largest record and, read along with it, the length field of the next.
  record_ = WipedBuffer(static_cast<std::size_t>(largest) + kRecordOverhead + kLengthBytes);
}

Result<StreamReader> StreamReader::open(const FileKey& key, PullSource& source, const Known& known) {
  std::array<std::uint8_t, kHeaderBytes> encoded{};
  const std::size_t got = TRY(source.read(encoded));
  const Header header = TRY(parse_header(ByteView(encoded).first(got)));
  TRY(check_header(header, known));
  std::optional<Layout> layout;
  if (known.plaintext_bytes) layout = TRY(Layout::from_plaintext(*known.plaintext_bytes, header.chunk_bytes));
  return StreamReader(key, header, source, layout);
}

Result<ByteView> StreamReader::next() {
  if (failed_) return fail(*failed_);
  if (ended_) return ByteView{};
  auto chunk = read_record();
  if (!chunk) {
    failed_ = chunk.error();
    wipe(record_.data(), record_.size());
  }
  return chunk;
}

Result<ByteView> StreamReader::read_record() {
  held_ += TRY(source_->read(MutableBytes(ahead_).subspan(held_)));
  if (held_ == 0 || (layout_ && index_ == layout_->chunk_count())) return end();
  const std::uint32_t plain_bytes = TRY(parse_record_length(ByteView(ahead_).first(held_), header()));
  if (layout_ && plain_bytes != layout_->chunk_plain_bytes(index_)) {
    return fail("record_malformed", fmt::format("record {} says {} bytes of plaintext where {} belong", index_,
                                                plain_bytes, layout_->chunk_plain_bytes(index_)));
  }

  const auto room = record_.span();
  const std::size_t record_bytes = plain_bytes + kRecordOverhead;
  std::ranges::copy(ahead_, room.begin());
  const std::size_t got = kLengthBytes + TRY(source_->read(room.subspan(kLengthBytes, record_bytes)));
  if (got < record_bytes) {
    return fail("record_truncated", fmt::format("record {} has {} bytes of {}", index_, got, record_bytes));
  }
  held_ = got - record_bytes;
  std::ranges::copy(room.subspan(record_bytes, held_), ahead_.begin());
  if (plain_bytes < header().chunk_bytes && held_ != 0 && !layout_) {
    if (held_ < kLengthBytes) return fail("record_truncated", fmt::format("{} bytes follow the last record", held_));
    return fail("record_malformed", fmt::format("record {} is short and not the last", index_));
  }

  const auto plain = room.subspan(kLengthBytes, plain_bytes);
  TRY(cipher_.open(index_, room.first(record_bytes), plain));
  ++index_;
  plaintext_bytes_ += plain_bytes;
  return ByteView(plain);
}

Result<ByteView> StreamReader::end() {
  if (held_ != 0) return fail("trailing_bytes", "bytes follow the last record");
  if (layout_ && index_ < layout_->chunk_count()) {
    return fail("ciphertext_truncated", fmt::format("the file has {} records of {}", index_, layout_->chunk_count()));
  }
  ended_ = true;
  wipe(record_.data(), record_.size());
  return ByteView{};
}

StreamWriter::StreamWriter(const FileKey& key, const Header& header, Sink& sink)
    : cipher_(key, header), sink_(&sink), record_(header.chunk_bytes + kRecordOverhead) {}

Result<StreamWriter> StreamWriter::create(const FileKey& key, const Header& header, Sink& sink) {
  StreamWriter writer(key, header, sink);
  TRY(writer.emit(encode_header(header)));
  return writer;
}

Result<> StreamWriter::write(ByteView plain) {
  while (!plain.empty()) {
    const std::size_t taken = std::min<std::size_t>(plain.size(), cipher_.header().chunk_bytes - filled_);
    std::memcpy(record_.data() + kLengthBytes + filled_, plain.data(), taken);
    filled_ += taken;
    plaintext_bytes_ += taken;
    plain = plain.subspan(taken);
    if (filled_ == cipher_.header().chunk_bytes) TRY(flush());
  }
  return {};
}

Result<> StreamWriter::finish() {
  if (filled_ != 0) TRY(flush());
  sha256_ciphertext_ = hash_.finish();
  return {};
}

Result<> StreamWriter::flush() {
  const auto record = record_.span().first(filled_ + kRecordOverhead);
  cipher_.seal(index_++, record.subspan(kLengthBytes, filled_), record);
  filled_ = 0;
  return emit(record);
}

Result<> StreamWriter::emit(ByteView bytes) {
  hash_.update(bytes);
  ciphertext_bytes_ += bytes.size();
  return sink_->write(bytes);
}

}  // namespace tb::tbenc
