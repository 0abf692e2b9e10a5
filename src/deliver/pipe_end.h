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
  /// Takes the write end, non-blocking; its buffer is made 1 MiB where the kernel allows.
  explicit PipeEnd(Fd fd);

  /// Blocks until all of `bytes` is in the pipe, the reader has gone, or `stop_fd` (an eventfd) becomes readable. The
  /// calling thread must have SIGPIPE blocked.
  Result<Written> write(ByteView bytes, int stop_fd);
  /// True once no process has the other end open.
  bool reader_gone() const;
  /// Waits until the reader has gone (true) or `stop_fd` becomes readable (false).
  bool wait_reader_gone(int stop_fd) const;
  /// Takes back what the reader has not read yet.
  void drain() noexcept;

 private:
  Fd fd_;
};

}  // namespace tb::deliver
