// The write end of one reader's FIFO: writes that hear a stop, and an end that is never mistaken for a clean one.
#pragma once

#include <sys/types.h>

#include <string>

#include "base/fs.h"
#include "base/result.h"

namespace tb::deliver {

/// How writing to a reader went. kPart: the pipe is full.
enum class Written { kAll, kPart, kReaderGone, kStopped };
enum class IfFull { kWait, kReturn };

class PipeEnd {
 public:
  /// Takes the write end, non-blocking; its capacity is made `pipe_bytes` where the kernel allows.
  PipeEnd(Fd fd, std::size_t pipe_bytes);

  /// Until all of `rest` is in the pipe, the reader has gone, `stop_fd` (an eventfd) has become readable, or the pipe
  /// is full and that is not to be waited out. `rest` is what is not in the pipe then. The calling thread must have
  /// SIGPIPE blocked.
  Result<Written> write(ByteView& rest, int stop_fd, IfFull if_full);
  /// The same without a copy: the pages of `rest` are given to the pipe (vmsplice). Whatever comes of it, no page of
  /// what is not in `rest` any more may be written again (pipe_pages.h).
  Result<Written> give(ByteView& rest, int stop_fd, IfFull if_full);
  /// True once no process has the other end open.
  bool reader_gone() const;
  /// Waits until the reader has gone (true) or `stop_fd` becomes readable (false).
  bool wait_reader_gone(int stop_fd) const;
  /// Takes back what the reader has not read yet.
  void drain() noexcept;

 private:
  template <typename Put>
  Result<Written> put_all(ByteView& rest, int stop_fd, IfFull if_full, Put put);
  Fd fd_;
};

}  // namespace tb::deliver
