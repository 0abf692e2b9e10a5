#include <fmt/format.h>

#include <algorithm>

#include "asset/unpack.h"

namespace tb::asset {

Result<StreamCheck> StreamCheck::make(const Content& content, std::uint64_t plaintext_bytes) {
  StreamCheck check(content, plaintext_bytes);
  if (content.is_tar()) check.map_ = TRY(TarMap::make(content, plaintext_bytes));
  if (content.plaintext_sha256) check.whole_.emplace();
  return check;
}

Result<> StreamCheck::write(ByteView bytes) {
  if (bytes.size() > total_ - at_) return fail("archive_malformed", "the stream is longer than its manifest says");
  if (whole_) whole_->update(bytes);
  if (map_) {
    for (const TarMap::Piece& piece : map_->pieces(at_, bytes.size())) {
      TRY(take(piece, bytes.subspan(piece.at, piece.bytes)));
    }
  }
  at_ += bytes.size();
  return {};
}

Result<> StreamCheck::take(const TarMap::Piece& piece, ByteView bytes) {
  if (piece.is_file) {
    const ContentFile& file = content_->files[piece.index];
    if (file.sha256) part_.update(bytes);
    return piece.offset + piece.bytes == file.bytes ? end_file(piece.index) : Result<>();
  }
  gap_.insert(gap_.end(), bytes.begin(), bytes.end());
  if (gap_.size() < map_->gap_bytes(piece.index)) return {};
  TRY(map_->check_gap(piece.index, gap_, directories_));
  gap_.clear();
  const bool empty_file = piece.index < content_->files.size() && content_->files[piece.index].bytes == 0;
  return empty_file ? end_file(piece.index) : Result<>();
}

Result<> StreamCheck::end_file(std::size_t index) {
  const ContentFile& file = content_->files[index];
  if (file.sha256 && part_.finish() != *file.sha256) {
    return fail("plaintext_digest_mismatch", fmt::format("'{}' does not have the SHA-256 of its index", file.path));
  }
  return {};
}

Result<> StreamCheck::finish() {
  if (at_ != total_) return fail("archive_malformed", "the stream is shorter than its manifest says");
  if (whole_ && whole_->finish() != *content_->plaintext_sha256) {
    return fail("plaintext_digest_mismatch", "the plaintext does not have the SHA-256 of its manifest");
  }
  return {};
}

}  // namespace tb::asset
