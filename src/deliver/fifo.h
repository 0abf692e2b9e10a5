// Delivery as a FIFO (TB_PIPE_PATH): the plaintext stream, from its first byte, for every reader that opens it. It is
// strict: it serves verified ciphertext only, each record opened by its tag again as it is written.
//
// The end of the stream is the end of the plaintext. A reader that leaves early is no error. If a record fails in the
// middle, or the delivery is revoked while somebody reads, the write end stays open until that reader is gone: a reader
// never sees a clean end of a broken stream (spec: wire 2.3).
//
// Every reader gets a FIFO of its own: as soon as one has come, a fresh one takes the path. Were it reused, a second
// writer could meet the first reader before that has seen its end of file, and the stream would start again in it.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "deliver/delivery.h"
#include "deliver/kernel.h"

namespace tb::deliver {

struct FifoOptions {
  std::string pipe_path;                        ///< TB_PIPE_PATH, absolute
  uid_t runtime_uid = 0;                        ///< owner of the FIFO, mode 0600
  bool allow_swap = false;                      ///< TB_ALLOW_SWAP
  std::optional<Kernel> kernel = std::nullopt;  ///< probed if not given
};

/// Removes a FIFO of ours that an earlier run left; anything else at pipe_path is "path_unsafe", thrown, as is a
/// directory in which others may replace it; "swap_enabled". The FIFO itself appears with serve() and goes with
/// revoke().
std::unique_ptr<Delivery> make_fifo(FifoOptions options);

}  // namespace tb::deliver
