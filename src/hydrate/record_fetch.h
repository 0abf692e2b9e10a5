// Records out of the byte ranges of a blob, piece by piece as they come, with everything that may go wrong on the way
// tried again: what came before a fault is kept, the next attempt asks for the rest only.
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

  /// The next bytes of record `chunk`, from its byte `at` on, never beyond its end; each record in order and whole.
  using OnPiece = std::function<void(std::uint64_t chunk, std::size_t at, ByteView piece)>;

  /// The records of `range`, in order. Throws what on_piece throws, "cancelled" on a stop request, and the errors of
  /// BlobSource::fetch once trying again cannot help.
  void run(const Range& range, const OnPiece& on_piece, std::stop_token stop) const;
};

}  // namespace tb::hydrate
