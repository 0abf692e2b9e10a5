// Where ciphertext lies: a blob of fixed size and version from which byte ranges are read.
//
// The contract of every implementation (BlobContract in source_test.cc runs over all of them):
//   * The first answer fixes size and version (ETag); an answer of another size or version is "blob_changed", final.
//   * fetch() gives its sink exactly the bytes that were asked for, in order, never more; when it throws, what the sink
//     got before is a correct prefix of the range and may be kept.
//   * Safe to call from several threads at once. Nothing here retries: whether a retry can help is in the error's row,
//     how long to wait before it is in FetchError::retry_after_ms. The one exception is a signed URL that has expired:
//     see url.h.
// What is not promised: that the bytes are the right ones. Tags and hashes say so, above.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "base/bytes.h"
#include "base/error.h"

namespace tb::blob {

/// What a refused or broken fetch throws: an Error, and the server's Retry-After where it sent one.
struct FetchError : Error {
  explicit FetchError(Error error, std::optional<std::int64_t> wait_ms = std::nullopt)
      : Error(std::move(error)), retry_after_ms(wait_ms) {}
  std::optional<std::int64_t> retry_after_ms;  ///< milliseconds from now
};

/// Size in bytes and version of a blob. `etag` is empty where the store has none.
struct BlobStat {
  std::uint64_t bytes = 0;
  std::string etag;
};

/// Takes the next bytes of a range; may throw to end the fetch, the same exception then leaves fetch().
using ByteSink = std::function<void(ByteView)>;

class BlobSource {
 public:
  virtual ~BlobSource() = default;

  /// Size and version. Asks for one byte if no fetch has been answered yet, else costs nothing. Throws as fetch().
  virtual BlobStat stat() = 0;

  /// Gives `sink` the bytes [offset, offset + bytes), bytes > 0. A stop request ends it with "cancelled".
  /// Throws FetchError: "range_outside_blob", "blob_changed", "blob_range_refused" (final), "url_expired" (renewal did
  /// not help), "blob_unavailable", "blob_cut_short" (a retry can help).
  virtual void fetch(std::uint64_t offset, std::uint64_t bytes, const ByteSink& sink, std::stop_token stop = {}) = 0;

  /// True where reading again costs nothing: a copy on a disk of our own would be waste.
  virtual bool is_local() const { return false; }

  /// Scheme, host and path, for logs; never the signature.
  virtual std::string printable() const = 0;
};

}  // namespace tb::blob
