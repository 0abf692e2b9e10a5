// Whole records out of the byte ranges of a blob, with everything that may go wrong on the way tried again: what came
// before a fault is kept, the next attempt asks for the rest only.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>

#include "async/backoff.h"
#include "base/bytes.h"
#include "blob/source.h"
#include "hydrate/range_plan.h"
#include "tbenc/layout.h"

namespace tb::hydrate {

struct RecordFetch {
  blob::BlobSource& source;
  const tbenc::Layout& layout;
  async::BackoffPolicy backoff;  ///< failures in a row; a byte of progress starts the count anew
  /// Called with the bytes that have come, before they are looked at; may block (a limit on the rate) and throw.
  std::function<void(std::uint64_t bytes, std::stop_token stop)> paced;
  std::function<void()> retrying;  ///< called before each further attempt

  /// A whole record, which the callee may change: it stands in `room`.
  using OnRecord = std::function<void(std::uint64_t chunk, MutableBytes record)>;

  /// The records of `range`, in order. `room` has layout.record_bytes(0) bytes at least. Throws what on_record throws,
  /// "cancelled" on a stop request, and the errors of BlobSource::fetch once trying again cannot help.
  void run(const Range& range, MutableBytes room, const OnRecord& on_record, std::stop_token stop) const;
};

}  // namespace tb::hydrate
