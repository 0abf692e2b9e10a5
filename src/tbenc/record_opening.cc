#include "tbenc/record_opening.h"

#include <algorithm>

namespace tb::tbenc {

RecordOpening::~RecordOpening() {
  if (!verified_) wipe(plain_.data(), plain_.size());
}

Result<> RecordOpening::feed(ByteView piece) {
  const auto take = [&](std::size_t some) {
    const ByteView taken = piece.first(std::min(some, piece.size()));
    piece = piece.subspan(taken.size());
    taken_ += taken.size();
    return taken;
  };
  if (taken_ < kLengthBytes && !piece.empty()) {
    const std::size_t at = taken_;
    std::ranges::copy(take(kLengthBytes - at), length_.data() + at);
    if (taken_ < kLengthBytes) return {};
    TRY(cipher_.begin_open(index_, length_, plain_.size()));
  }
  const std::size_t opened = taken_ - kLengthBytes;
  if (opened < plain_.size()) {
    const ByteView cipher = take(plain_.size() - opened);
    cipher_.open_piece(cipher, plain_.subspan(opened, cipher.size()));
  }
  if (piece.empty()) return {};
  const std::size_t at = taken_ - kLengthBytes - plain_.size();
  std::ranges::copy(take(kTagBytes - at), tag_.data() + at);
  if (missing() != 0) return {};
  TRY(cipher_.finish_open(index_, tag_));
  verified_ = true;
  return {};
}

}  // namespace tb::tbenc
