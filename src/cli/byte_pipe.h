// Bytes from one thread to another, in order, with a bound on how many are between them.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>

#include "base/bytes.h"
#include "base/error.h"

namespace tb::cli {

class BytePipe {
 public:
  explicit BytePipe(std::size_t capacity_bytes) : ring_(capacity_bytes) {}

  /// Waits for room. Throws what the reader has given up with.
  void write(ByteView bytes);
  /// Fills `out`, waiting. Throws "cancelled" once the writer has given up.
  void read(MutableBytes out);
  /// The reader takes no more, because of this.
  void refuse(Error why);
  /// The writer gives no more, although more was to come.
  void break_off();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  Bytes ring_;
  std::size_t first_ = 0, held_ = 0;
  bool broken_off_ = false;
  std::optional<Error> refused_;
};

}  // namespace tb::cli
