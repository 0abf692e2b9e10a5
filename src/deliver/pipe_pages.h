// Memory whose pages are given to a pipe instead of copied into it (vmsplice).
//
// A page that was given is not ours any more: the pipe holds it, and its reader may have spliced or tee'd it on into
// another pipe or a socket, where nothing tells us of it. "All was read" therefore never means that a page is free, and
// a page is never written or wiped after it was given. It is let go of: our mapping gets fresh pages, and the kernel
// frees the old ones with their last reader. docs/decisions/0015-pages-given-to-a-pipe.md.
#pragma once

#include "base/bytes.h"

namespace tb::deliver {

class PipePages {
 public:
  /// Room for `bytes`, on huge pages where the kernel has them. Throws std::bad_alloc.
  explicit PipePages(std::size_t bytes);
  ~PipePages();
  PipePages(const PipePages&) = delete;
  PipePages& operator=(const PipePages&) = delete;

  /// To be written, until something of it is given.
  MutableBytes span() {
    written_ = true;
    return {data_, size_};
  }
  ByteView view() const { return {data_, size_}; }
  /// The first `bytes` of it have been given: nothing here writes to their pages any more, whatever comes.
  void gave(std::size_t bytes) { given_ = bytes; }
  /// Wipes the pages that were not given, and puts fresh ones in place of all of them. Throws std::bad_alloc.
  void let_go();

 private:
  void map();
  void unmap() noexcept;
  void wipe_what_is_ours() noexcept;
  std::uint8_t* data_ = nullptr;
  std::size_t size_ = 0, mapped_ = 0, given_ = 0;
  void* base_ = nullptr;
  bool written_ = false;  ///< since the pages came
};

}  // namespace tb::deliver
