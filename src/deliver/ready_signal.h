// The ready signal (TB_READY_SIGNAL): a small file that says that the delivery can be read (spec: wire 2.3).
#pragma once

#include <cstdint>
#include <string>

#include "base/clock.h"
#include "base/fs.h"

namespace tb::deliver {

struct ReadyFacts {
  std::string sentinel_version;
  std::string delivery;    ///< Delivery::kind()
  std::string path;        ///< Delivery::path()
  std::string generation;  ///< of this hydration; the entrypoint tells runs apart by it
  std::uint64_t plaintext_bytes = 0;
};

/// `{"ready": true, "timestamp": …, "sentinel_version": …, "delivery": …, "path": …, "generation": …,
/// "plaintext_bytes": …}` and a newline.
std::string ready_signal_text(const ReadyFacts& facts, UnixMs now);

/// Owns the file at `path`: absent until publish(), gone after withdraw() and with the object.
class ReadySignal {
 public:
  /// Makes its directory (0711) if it is not there, and removes a signal that an earlier run left. Throws
  /// "path_unsafe": a directory that others own or can write, or something else than a file of ours at `path`.
  explicit ReadySignal(std::string path);
  ~ReadySignal();
  ReadySignal(const ReadySignal&) = delete;
  ReadySignal& operator=(const ReadySignal&) = delete;
  /// Written aside and renamed, mode 0644; throws Error.
  void publish(const ReadyFacts& facts, UnixMs now);
  void withdraw() noexcept;
  const std::string& path() const { return path_; }

 private:
  std::string path_, name_;
  Fd directory_;
};

}  // namespace tb::deliver
