// Delivery as a FIFO (TB_PIPE_PATH): the plaintext stream, from its first byte, for every reader that opens it, one at a
// time. It is strict: it serves verified ciphertext only, each record opened by its tag again as it is written.
//
// The end of the stream is the end of the plaintext. A reader that leaves early is no error. If a record fails in the
// middle, the write end stays open until that reader is gone: a reader never sees a clean end of a broken stream.
// Opening a FIFO for writing waits for a reader, so serving has a thread of its own, which waits with poll() only.
#pragma once

#include <memory>
#include <string>

#include "deliver/delivery.h"

namespace tb::deliver {

struct FifoOptions {
  std::string pipe_path;        ///< TB_PIPE_PATH; its directory must be owned by us and not writable by others
  uid_t runtime_uid = 0;        ///< owner of the FIFO, mode 0600
  bool allow_swap = false;
};

/// Removes a FIFO of ours that an earlier run left; anything else at pipe_path is "path_unsafe". The FIFO itself appears
/// with serve() and goes with revoke().
std::unique_ptr<Delivery> make_fifo(FifoOptions options);

}  // namespace tb::deliver
