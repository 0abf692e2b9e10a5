#include "tbenc/random_access.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

namespace tb::tbenc {

RandomReader::RandomReader(ChunkCipher cipher, std::shared_ptr<const RandomSource> source, Layout layout,
                           bool end_authenticated)
    : cipher_(std::move(cipher)), source_(std::move(source)), layout_(layout), end_authenticated_(end_authenticated) {}

Result<RandomReader> RandomReader::open(const FileKey& key, std::shared_ptr<const RandomSource> source,
                                        const Known& known) {
  std::array<std::uint8_t, kHeaderBytes> encoded{};
  const auto head = MutableBytes(encoded).first(std::min<std::uint64_t>(kHeaderBytes, source->size()));
  TRY(source->read_at(0, head));
  const Header header = TRY(parse_header(head));
  TRY(check_header(header, known));
  const Layout layout = known.plaintext_bytes ? TRY(Layout::from_plaintext(*known.plaintext_bytes, header.chunk_bytes))
                                              : TRY(Layout::from_ciphertext(source->size(), header.chunk_bytes));
  TRY(layout.check_file_bytes(source->size()));
  return RandomReader(ChunkCipher(key, header), std::move(source), layout, known.plaintext_bytes.has_value());
}

RandomReader RandomReader::clone() const {
  return RandomReader(cipher_.clone(), source_, layout_, end_authenticated_);
}

Result<> RandomReader::load(std::uint64_t index) {
  if (loaded_ == index) return {};
  if (record_.size() == 0) record_ = WipedBuffer(layout_.record_bytes(0));
  loaded_.reset();
  const auto record = record_.span().first(layout_.record_bytes(index));
  TRY(source_->read_at(layout_.record_offset(index), record));
  TRY(cipher_.open(index, record, record.subspan(kLengthBytes, layout_.chunk_plain_bytes(index))));
  loaded_ = index;
  return {};
}

Result<> RandomReader::read_at(std::uint64_t offset, MutableBytes out) {
  if (offset > layout_.plaintext_bytes() || out.size() > layout_.plaintext_bytes() - offset) {
    wipe(out.data(), out.size());
    return fail("range_invalid",
                fmt::format("{} bytes from {} pass the end at {}", out.size(), offset, layout_.plaintext_bytes()));
  }
  std::size_t done = 0;
  while (done < out.size()) {
    const std::uint64_t at = offset + done;
    const std::uint64_t index = layout_.chunk_of(at);
    if (auto loaded = load(index); !loaded) {
      wipe(out.data(), out.size());
      return loaded;
    }
    const std::size_t from = static_cast<std::size_t>(at - layout_.plain_offset(index));
    const std::size_t taken = std::min(out.size() - done, std::size_t{layout_.chunk_plain_bytes(index)} - from);
    std::memcpy(out.data() + done, record_.data() + kLengthBytes + from, taken);
    done += taken;
  }
  return {};
}

}  // namespace tb::tbenc
