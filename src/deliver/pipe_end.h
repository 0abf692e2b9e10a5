// The write end of one reader's FIFO: writes that hear a stop, and an end that is never mistaken for a clean one.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/fs.h"
#include "base/result.h"

namespace tb::deliver {

/// How writing to a reader went.
enum class Written { kAll, kReaderGone, kStopped };

class PipeEnd {
 public:
  /// Takes the write end, non-blocking; its capacity is made `pipe_bytes` where the kernel allows.
  PipeEnd(Fd fd, std::size_t pipe_bytes);

  /// Blocks until all of `bytes` is in the pipe, the reader has gone, or `stop_fd` (an eventfd) becomes readable. The
  /// calling thread must have SIGPIPE blocked.
  Result<Written> write(ByteView bytes, int stop_fd);
  /// The same without a copy: the pages of `bytes`, which starts on a page, are given to the pipe (vmsplice). Whatever
  /// comes of it, none of the first `given` bytes' pages may be written again (pipe_pages.h).
  Result<Written> give(ByteView bytes, int stop_fd, std::size_t& given);
  /// True once no process has the other end open.
  bool reader_gone() const;
  /// Waits until the reader has gone (true) or `stop_fd` becomes readable (false).
  bool wait_reader_gone(int stop_fd) const;
  /// Takes back what the reader has not read yet.
  void drain() noexcept;

 private:
  template <typename Put>
  Result<Written> put_all(ByteView bytes, int stop_fd, Put put);
  Fd fd_;
};

}  // namespace tb::deliver
