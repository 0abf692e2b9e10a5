// One pass over all chunks of an asset by N threads: each record from the cache if it is there, else from the blob;
// opened; given to whoever wants it. The two modes of hydration are made of one or two such passes.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <stop_token>

#include "asset/sink.h"
#include "async/backoff.h"
#include "base/secret.h"
#include "blob/source.h"
#include "hydrate/cache.h"
#include "hydrate/progress.h"
#include "hydrate/range_plan.h"
#include "tbenc/chunk.h"
#include "tbenc/layout.h"

namespace tb::hydrate {

struct ChunkPass {
  const tbenc::ChunkCipher& cipher;  ///< cloned for every thread
  tbenc::Layout layout;
  blob::BlobSource* source = nullptr;  ///< nullptr: the cache has everything
  Cache* cache = nullptr;              ///< fetched records are kept here; nullptr: not kept
  asset::ChunkSink* sink = nullptr;    ///< nullptr: plaintext is verified and dropped
  Meter* meter = nullptr;
  unsigned connections = 4;
  std::uint64_t request_bytes = 8U << 20;
  async::BackoffPolicy backoff;

  /// Returns when every chunk has been opened and given to the sink. Throws the first Error of any thread, after all of
  /// them have ended; "cancelled" on a stop request. A cached record that does not verify is fetched again, if there
  /// is a source. Memory: two chunks for each thread; fewer threads than `connections` where that would pass 512 MiB.
  void run(std::stop_token stop);
};

}  // namespace tb::hydrate
