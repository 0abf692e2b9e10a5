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

class RandomReader {
 public:
  /// Reads the header once and checks it and the file's size against `known`. Without a known plaintext length the
  /// layout follows from the source's size, and end_authenticated() is false. Errors of parse_header, check_header,
  /// Layout, and of the source.
  static Result<RandomReader> open(const FileKey& key, std::shared_ptr<const RandomSource> source,
                                   const Known& known = {});
  /// A reader for another thread, over the same source and header.
  RandomReader clone() const;

  /// Fills `out` from plaintext `offset`. "range_invalid" if it passes the end. On any error all of `out` is wiped.
  /// Errors of ChunkCipher::open and of the source.
  Result<> read_at(std::uint64_t offset, MutableBytes out);

  const Layout& layout() const { return layout_; }
  const Header& header() const { return cipher_.header(); }
  bool end_authenticated() const { return end_authenticated_; }

 private:
  RandomReader(ChunkCipher cipher, std::shared_ptr<const RandomSource> source, Layout layout, bool end_authenticated);
  Result<> load(std::uint64_t index);

  ChunkCipher cipher_;
  std::shared_ptr<const RandomSource> source_;
  Layout layout_;
  bool end_authenticated_;
  WipedBuffer record_;
  std::optional<std::uint64_t> loaded_;  ///< the chunk whose plaintext stands in record_
};

}  // namespace tb::tbenc
