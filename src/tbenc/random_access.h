// Any byte of the plaintext, by arithmetic: opens only the chunks that a read touches and keeps the last one opened.
// What is given out is what was opened now, never what was once checked. One object a thread, see clone().
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include "base/secret.h"
#include "tbenc/chunk.h"
#include "tbenc/layout.h"
#include "tbenc/source.h"

namespace tb::tbenc {

/// A file's header, read and checked once, and the layout that the file was checked to have.
struct FileHead {
  Header header;
  Layout layout;
  bool end_authenticated;  ///< the plaintext length was known, not derived from the file's size
};

/// Errors of parse_header, check_header, Layout, and of the source.
Result<FileHead> read_head(const RandomSource& source, const Known& known);

class RandomReader {
 public:
  /// Reads the header once and checks it and the file's size against `known`. Without a known plaintext length the
  /// layout follows from the source's size, and end_authenticated() is false. Errors of read_head.
  static Result<RandomReader> open(const FileKey& key, std::shared_ptr<const RandomSource> source,
                                   const Known& known = {});
  /// A reader for another thread, over the same source and header.
  RandomReader clone() const;

  /// Fills `out` from plaintext `offset`. "range_invalid" if it passes the end. On any error all of `out` is wiped.
  /// Errors of ChunkCipher::open and of the source.
  Result<> read_at(std::uint64_t offset, MutableBytes out);

  const Layout& layout() const { return head_.layout; }
  const Header& header() const { return head_.header; }
  bool end_authenticated() const { return head_.end_authenticated; }

 private:
  RandomReader(ChunkCipher cipher, std::shared_ptr<const RandomSource> source, const FileHead& head);
  Result<> load(std::uint64_t index);

  ChunkCipher cipher_;
  std::shared_ptr<const RandomSource> source_;
  FileHead head_;
  WipedBuffer record_;
  std::optional<std::uint64_t> loaded_;  ///< the chunk whose plaintext stands in record_
};

}  // namespace tb::tbenc
