// One reader's stream: chunks opened on all cores, put into its pipe in order.
//
// Each thread opens a piece (one chunk, or several small ones), waits for its turn and puts it into the pipe while the
// others open the next ones. Pieces go by pages (pipe_pages.h) where the kernel gives huge pages and takes pages, else
// by write(2).
#pragma once

#include <stop_token>

#include "asset/chunk_source.h"
#include "deliver/kernel.h"
#include "deliver/pipe_end.h"

namespace tb::deliver {

/// How many threads serve a reader of such chunks on `cores`. Each holds a piece and, in the source, a record: together
/// at most kStreamBytes, unless one thread alone holds more.
unsigned stream_threads(const tbenc::Layout& layout, unsigned cores);
inline constexpr std::size_t kStreamBytes = std::size_t{48} << 20;

/// Serves all of `source` into `end`. Ends with what became of the reader, or with the first error in the order of the
/// stream; everything before it is in the pipe then. `stop` ends a source that waits, `stop_fd` a reader that does not
/// read. The calling thread, which works too, must have SIGPIPE blocked.
Result<Written> stream_to_reader(asset::ChunkSource& source, PipeEnd& end, int stop_fd, const std::stop_token& stop,
                                 const Kernel& kernel);

}  // namespace tb::deliver
