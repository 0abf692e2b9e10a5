// One pass over all chunks of an asset by N threads: each record from the cache if it is there, else from the blob;
// opened; given to whoever wants it. What Hydration does is one or two such passes.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <stop_token>

#include "asset/sink.h"
#include "hydrate/hydration.h"

namespace tb::hydrate {

class ChunkPass {
 public:
  enum class Kind {
    kFirst,      ///< fetches what is missing, and counts as progress
    kFromCache,  ///< all over again: a record that does not verify in the cache is an error
    kFromBlob,   ///< all over again from a blob that costs nothing
  };
  /// `sink`: nullptr, and plaintext is verified and dropped.
  ChunkPass(Hydration& of, asset::ChunkSink* sink, Kind kind) : of_(of), sink_(sink), kind_(kind) {}

  /// Returns when every chunk has been opened and given to the sink. Throws the first Error of any thread, after all of
  /// them have ended; "cancelled" on a stop request. Memory: one record for each thread, 160 MiB for all of them or one
  /// record, whichever is more.
  void run(std::stop_token stop);

 private:
  void work(unsigned number);
  bool may_go_on(unsigned number);
  void do_range(Hydration::Bench& bench, const Range& range);
  /// A place of the sink's for one chunk, given back unless the chunk was delivered.
  class Place;
  void deliver(Place& place, MutableBytes plain, bool from_cache);
  void failed(const Error& error);
  unsigned most_threads() const;

  Hydration& of_;
  asset::ChunkSink* sink_;
  Kind kind_;
  std::stop_source stop_;
  std::mutex mutex_;
  std::condition_variable changed_;
  unsigned allowed_ = 0;  ///< threads with a number from here on wait
  unsigned running_ = 0;  ///< threads that have not ended
  bool closing_ = false;  ///< nothing is left for anyone
  std::optional<Error> error_;
};

}  // namespace tb::hydrate
