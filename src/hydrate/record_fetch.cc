#include "hydrate/record_fetch.h"

#include <algorithm>

#include "hydrate/retry.h"

namespace tb::hydrate {

void RecordFetch::run(const Range& range, const OnPiece& on_piece, std::stop_token stop) const {
  const std::uint64_t end = range.offset + range.bytes;
  const std::uint64_t last = range.first_chunk + range.chunks;
  std::uint64_t chunk = range.first_chunk;
  std::size_t come = 0;  ///< bytes of `chunk`
  Retry retry(backoff, stop);
  const auto take = [&](ByteView piece) {
    retry.progressed();
    if (paced) paced(piece.size(), stop);
    while (!piece.empty()) {
      const auto whole = static_cast<std::size_t>(layout.record_bytes(chunk));
      const std::size_t taken = std::min(whole - come, piece.size());
      on_piece(chunk, come, piece.first(taken));
      come += taken;
      piece = piece.subspan(taken);
      if (come < whole) return;
      ++chunk;
      come = 0;
    }
  };
  while (chunk < last) {
    const std::uint64_t from = layout.record_offset(chunk) + come;
    try {
      source.fetch(from, end - from, take, stop);
    } catch (const blob::FetchError& error) {
      retry.wait_or_rethrow(error, error.retry_after_ms);
      if (retrying) retrying();
    } catch (const Error& error) {
      retry.wait_or_rethrow(error, std::nullopt);
      if (retrying) retrying();
    }
  }
}

}  // namespace tb::hydrate
