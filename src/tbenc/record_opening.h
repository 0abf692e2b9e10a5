// One record opened as its bytes come: whoever reads or receives it need not hold all of it, and each byte is decrypted
// while it is still in the processor's cache.
#pragma once

#include <cstdint>
#include <optional>

#include "tbenc/chunk.h"
#include "tbenc/layout.h"

namespace tb::tbenc {

class RecordOpening {
 public:
  /// Record `index`; `plain` has the size that the layout says of this chunk. `cipher` and `plain` outlive it, and
  /// nothing else is asked of `cipher` until done() or an error. What stands in `plain` is unverified until done():
  /// nobody may see it.
  RecordOpening(ChunkCipher& cipher, std::uint64_t index, MutableBytes plain)
      : cipher_(cipher), index_(index), plain_(plain) {}
  /// What was not verified is wiped.
  ~RecordOpening();
  RecordOpening(const RecordOpening&) = delete;
  RecordOpening& operator=(const RecordOpening&) = delete;

  /// The next bytes of the record, split anywhere, and not more than missing(). With the last of them the tag is
  /// checked. Errors of ChunkCipher::open; after one nothing more is taken.
  Result<> feed(ByteView piece);
  /// Bytes of the record still to come.
  std::size_t missing() const { return plain_.size() + kRecordOverhead - taken_; }
  bool done() const { return verified_; }

 private:
  ChunkCipher& cipher_;
  std::uint64_t index_;
  MutableBytes plain_;
  std::array<std::uint8_t, kLengthBytes> length_{};
  std::array<std::uint8_t, kTagBytes> tag_{};
  std::size_t taken_ = 0;  ///< bytes of the record
  bool verified_ = false;
};

}  // namespace tb::tbenc
