// Who has which chunk: workers that bring the asset and readers that want one chunk now meet here, so that each is
// fetched once. The plan says what is next (range_plan.h); this adds the lock, the waiting, and the handing over of a
// chunk that somebody else was fetching already.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <list>
#include <mutex>
#include <optional>
#include <stop_token>

#include "base/bytes.h"
#include "hydrate/range_plan.h"
#include "tbenc/header.h"

namespace tb::hydrate {

class ChunkTable {
 public:
  /// Workers get as many chunks at once as make `request_bytes` of plaintext, one at least: the 20 bytes that each
  /// record has beside it do not count, or 8 MiB would not hold two chunks of 4 MiB.
  ChunkTable(const tbenc::Layout& layout, std::uint64_t request_bytes)
      : plan_(layout, request_bytes + request_bytes / layout.chunk_bytes() * tbenc::kRecordOverhead) {}

  /// The next range for a worker. Waits while all that is missing is in hands; nothing once all is done, or stopped.
  std::optional<Range> next_range(std::stop_token stop);

  enum class Answer {
    kMine,    ///< the caller has the chunk in hands: it ends in finished() or abandoned()
    kFilled,  ///< somebody else had it and has filled `plain`
    kRetry,   ///< somebody else had it and could not bring it
    kStopped,
  };
  /// For a reader who wants chunk `chunk` in `plain` now; waits for whoever has it. Workers go on behind it.
  Answer claim_or_wait(std::uint64_t chunk, MutableBytes plain, std::stop_token stop);

  /// The chunk in the caller's hands has verified: `plain` is copied to all who wait for it. Empty: they have to ask
  /// again. True the first time for this chunk.
  bool finished(std::uint64_t chunk, ByteView plain);
  void abandoned(std::uint64_t chunk);

  bool complete() const;
  /// Waits until the chunk is done; false if stopped before.
  bool wait_done(std::uint64_t chunk, std::stop_token stop) const;
  Range range_of(std::uint64_t first, std::uint64_t chunks) const { return plan_.range_of(first, chunks); }

 private:
  struct Waiter {
    enum class State { kWaiting, kFilling, kFilled, kRetry };
    std::uint64_t chunk;
    MutableBytes plain;
    State state = State::kWaiting;
  };

  mutable std::mutex mutex_;
  mutable std::condition_variable_any changed_;
  RangePlan plan_;
  std::list<Waiter*> waiters_;  ///< each on its own thread's stack, until it has seen its state
};

}  // namespace tb::hydrate
