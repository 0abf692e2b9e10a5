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
#include "tbenc/record_reader.h"
#include "tbenc/sink.h"
#include "tbenc/source.h"

namespace tb::tbenc {

class StreamReader {
 public:
  /// Reads and checks the header; `source` must outlive the reader. Errors of parse_header, check_header and Layout.
  static Result<StreamReader> open(const FileKey& key, PullSource& source, const Known& known = {});

  /// The next chunk's plaintext, valid until the next call; an empty view at the end of the stream.
  /// Errors of RecordReader::next, and "tag_mismatch".
  Result<ByteView> next();

  const Header& header() const { return records_.header(); }
  /// True once next() gave the end and the plaintext length was known beforehand.
  bool end_authenticated() const { return !failed_ && records_.end_authenticated(); }
  /// Plaintext given out so far.
  std::uint64_t plaintext_bytes() const { return plaintext_bytes_; }

 private:
  StreamReader(const FileKey& key, const RecordReader& records, WipedBuffer record);
  Result<ByteView> open_next();

  RecordReader records_;
  ChunkCipher cipher_;
  WipedBuffer record_;
  std::uint64_t plaintext_bytes_ = 0;
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
  StreamWriter(const FileKey& key, const Header& header, Sink& sink, WipedBuffer record);
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
