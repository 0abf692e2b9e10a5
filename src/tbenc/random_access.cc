#include "tbenc/random_access.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "tbenc/buffer.h"

namespace tb::tbenc {

Result<FileHead> read_head(const RandomSource& source, const Known& known) {
  std::array<std::uint8_t, kHeaderBytes> encoded{};
  const auto head = MutableBytes(encoded).first(std::min<std::uint64_t>(kHeaderBytes, source.size()));
  TRY(source.read_at(0, head));
  const Header header = TRY(parse_header(head));
  TRY(check_header(header, known));
  const Layout layout = known.plaintext_bytes ? TRY(Layout::from_plaintext(*known.plaintext_bytes, header.chunk_bytes))
                                              : TRY(Layout::from_ciphertext(source.size(), header.chunk_bytes));
  TRY(layout.check_file_bytes(source.size()));
  return FileHead{header, layout, known.plaintext_bytes.has_value()};
}

RandomReader::RandomReader(ChunkCipher cipher, std::shared_ptr<const RandomSource> source, const FileHead& head)
    : cipher_(std::move(cipher)), source_(std::move(source)), head_(head) {}

Result<RandomReader> RandomReader::open(const FileKey& key, std::shared_ptr<const RandomSource> source,
                                        const Known& known) {
  const FileHead head = TRY(read_head(*source, known));
  return RandomReader(ChunkCipher(key, head.header), std::move(source), head);
}

RandomReader RandomReader::clone() const {
  return RandomReader(cipher_.clone(), source_, head_);
}

Result<> RandomReader::load(std::uint64_t index) {
  if (loaded_ == index) return {};
  if (record_.size() == 0) record_ = TRY(allocate_buffer(layout().record_bytes(0)));
  loaded_.reset();
  const auto record = record_.span().first(layout().record_bytes(index));
  TRY(source_->read_at(layout().record_offset(index), record));
  TRY(cipher_.open(index, record, record.subspan(kLengthBytes, layout().chunk_plain_bytes(index))));
  loaded_ = index;
  return {};
}

Result<> RandomReader::read_at(std::uint64_t offset, MutableBytes out) {
  if (offset > layout().plaintext_bytes() || out.size() > layout().plaintext_bytes() - offset) {
    wipe(out.data(), out.size());
    return fail("range_invalid",
                fmt::format("{} bytes from {} pass the end at {}", out.size(), offset, layout().plaintext_bytes()));
  }
  std::size_t done = 0;
  while (done < out.size()) {
    const std::uint64_t at = offset + done;
    const std::uint64_t index = layout().chunk_of(at);
    if (auto loaded = load(index); !loaded) {
      wipe(out.data(), out.size());
      return loaded;
    }
    const std::size_t from = static_cast<std::size_t>(at - layout().plain_offset(index));
    const std::size_t taken = std::min(out.size() - done, std::size_t{layout().chunk_plain_bytes(index)} - from);
    std::memcpy(out.data() + done, record_.data() + kLengthBytes + from, taken);
    done += taken;
  }
  return {};
}

}  // namespace tb::tbenc
