// The sequential reader and writer: one chunk in memory, no threads.
//
// The reader gives out a chunk only after its tag verified, and remembers a failure: every later call gives the same
// error, so a broken stream never looks like a clean end of file. Without a known plaintext length a cut exactly at a
// record border cannot be seen: end_authenticated() is then false and callers must say so.
#pragma once

#include <cstdint>
#include <optional>

#include "base/crypto.h"
#include "base/secret.h"
#include "tbenc/chunk.h"
#include "tbenc/header.h"
#include "tbenc/layout.h"
#include "tbenc/sink.h"
#include "tbenc/source.h"

namespace tb::tbenc {

class StreamReader {
 public:
  /// Reads and checks the header; `source` must outlive the reader. Errors of parse_header, check_header and Layout.
  static Result<StreamReader> open(const FileKey& key, PullSource& source, const Known& known = {});

  /// The next chunk's plaintext, valid until the next call; an empty view at the end of the stream.
  /// "record_malformed" for a bad pt_len or a short record that is not the last, "record_truncated" for a cut in a
  /// record, "tag_mismatch", and with a known length "ciphertext_truncated" and "trailing_bytes".
  Result<ByteView> next();

  const Header& header() const { return cipher_.header(); }
  /// True once next() gave the end and the plaintext length was known beforehand.
  bool end_authenticated() const { return ended_ && layout_.has_value(); }
  /// Plaintext given out so far.
  std::uint64_t plaintext_bytes() const { return plaintext_bytes_; }

 private:
  StreamReader(const FileKey& key, const Header& header, PullSource& source, std::optional<Layout> layout);
  Result<ByteView> read_record();
  Result<ByteView> end();

  ChunkCipher cipher_;
  PullSource* source_;
  std::optional<Layout> layout_;
  WipedBuffer record_;
  std::array<std::uint8_t, kLengthBytes> ahead_{};  ///< the next record's length field
  std::size_t held_ = 0;                            ///< bytes of it that were read already
  std::uint64_t index_ = 0;
  std::uint64_t plaintext_bytes_ = 0;
  bool ended_ = false;
  std::optional<Error> failed_;
};

/// Takes plaintext in pieces of any size and writes header and records to a sink, hashing them on the way.
class StreamWriter {
 public:
  /// Writes the header; `sink` must outlive the writer. `key` MUST never have sealed another file.
  static Result<StreamWriter> create(const FileKey& key, const Header& header, Sink& sink);
  Result<> write(ByteView plain);
  /// Seals the last chunk. Nothing may follow.
  Result<> finish();

  std::uint64_t plaintext_bytes() const { return plaintext_bytes_; }
  std::uint64_t ciphertext_bytes() const { return ciphertext_bytes_; }
  /// SHA-256 of the whole file, after finish().
  const Digest& sha256_ciphertext() const { return sha256_ciphertext_; }

 private:
  StreamWriter(const FileKey& key, const Header& header, Sink& sink);
  Result<> flush();
  Result<> emit(ByteView bytes);

  ChunkCipher cipher_;
  Sink* sink_;
  WipedBuffer record_;
  std::size_t filled_ = 0;
  std::uint64_t index_ = 0;
  std::uint64_t plaintext_bytes_ = 0;
  std::uint64_t ciphertext_bytes_ = 0;
  Sha256 hash_;
  Digest sha256_ciphertext_{};
};

}  // namespace tb::tbenc
