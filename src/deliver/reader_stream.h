// One reader's stream: chunks opened on all cores, put into its pipe in order.
//
// There are more pieces (one chunk, or several small ones) than threads, so that none of them waits for its turn: a
// thread puts the piece whose turn it is into the pipe, if nobody else does; where the pipe is full, or it is not that
// piece's turn, it opens another one, and sleeps only when all pieces are open. One thread more stands by: what is open
// reaches the reader though all others hang in the source. Pieces go by pages (pipe_pages.h) where the kernel gives
// huge pages and takes pages, else by write(2).
#pragma once

#include <stop_token>

#include "asset/chunk_source.h"
#include "deliver/kernel.h"
#include "deliver/pipe_end.h"

namespace tb::deliver {

/// Threads that open chunks for a reader, and pieces that they hold open. In the source each thread holds a record as
/// well: all together at most kStreamBytes, unless one thread with one piece holds more.
struct StreamPlan {
  unsigned threads;
  std::size_t pieces;
};
inline constexpr std::size_t kStreamBytes = std::size_t{48} << 20;
StreamPlan plan_stream(const tbenc::Layout& layout, unsigned cores);

/// Serves all of `source` into `end`. Ends with what became of the reader, or with the first error in the order of the
/// stream; everything before it is in the pipe then. `stop` ends a source that waits, `stop_fd` a reader that does not
/// read. The calling thread, which stands by, must have SIGPIPE blocked.
Result<Written> stream_to_reader(asset::ChunkSource& source, PipeEnd& end, int stop_fd, const std::stop_token& stop,
                                 const Kernel& kernel);

}  // namespace tb::deliver
