#include "tbenc/stream.h"

#include <algorithm>
#include <cstring>

#include "tbenc/buffer.h"

namespace tb::tbenc {

StreamReader::StreamReader(const FileKey& key, const RecordReader& records, WipedBuffer record)
    : records_(records), cipher_(key, records_.header()), record_(std::move(record)) {}

Result<StreamReader> StreamReader::open(const FileKey& key, PullSource& source, const Known& known) {
  const RecordReader records = TRY(RecordReader::open(source, known));
  WipedBuffer record = TRY(allocate_buffer(records.room_bytes()));
  return StreamReader(key, records, std::move(record));
}

Result<ByteView> StreamReader::next() {
  if (failed_) return fail(*failed_);
  auto chunk = open_next();
  if (!chunk) failed_ = chunk.error();
  if (!chunk || chunk->empty()) wipe(record_.data(), record_.size());
  return chunk;
}

Result<ByteView> StreamReader::open_next() {
  const std::uint64_t index = records_.index();
  const std::uint32_t plain_bytes = TRY(records_.next(record_.span()));
  if (plain_bytes == 0) return ByteView{};
  const auto record = record_.span().first(plain_bytes + kRecordOverhead);
  const auto plain = record.subspan(kLengthBytes, plain_bytes);
  TRY(cipher_.open(index, record, plain));
  plaintext_bytes_ += plain_bytes;
  return ByteView(plain);
}

StreamWriter::StreamWriter(const FileKey& key, const Header& header, Sink& sink, WipedBuffer record)
    : cipher_(key, header), sink_(&sink), record_(std::move(record)) {}

Result<StreamWriter> StreamWriter::create(const FileKey& key, const Header& header, Sink& sink) {
  StreamWriter writer(key, header, sink, TRY(allocate_buffer(header.chunk_bytes + kRecordOverhead)));
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
