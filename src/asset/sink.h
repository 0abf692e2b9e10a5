// ChunkSink: where opened chunks go. hydrate feeds it, deliver implements it (tmpfs, FIFO, mount).
//
// The life of a sink: begin() once; then chunk() for each index once; then finish() after the last chunk has been
// accepted, or abort() at any time after begin(), after which nothing else is called. A chunk is handed over only after
// its tag has verified against the manifest's key and position; what the sink has been given before abort() must not be
// usable as if it were whole.
#pragma once

#include <cstdint>

#include "asset/manifest.h"
#include "base/bytes.h"
#include "base/error.h"
#include "base/result.h"
#include "tbenc/layout.h"

namespace tb::asset {

class ChunkSink {
 public:
  ChunkSink() = default;
  ChunkSink(const ChunkSink&) = delete;
  ChunkSink& operator=(const ChunkSink&) = delete;
  virtual ~ChunkSink() = default;

  /// Makes room for the plaintext; the manifest is authenticated and outlives the sink's use.
  virtual Result<> begin(const Manifest& manifest, const tbenc::Layout& layout) = 0;
  /// Where the sink would like chunk `index` to be opened: bytes of its size, or none where any place is as good. They
  /// are the caller's, whatever stands in them unverified and seen by nobody, until chunk() is given these very bytes,
  /// or leave().
  virtual MutableBytes place(std::uint64_t) { return {}; }
  /// The place that was given for chunk `index` will not be filled. Must not fail.
  virtual void leave(std::uint64_t) {}
  /// From several threads, in any order. `plain` is layout.chunk_plain_bytes(index) long and belongs to the caller
  /// again when this returns.
  virtual Result<> chunk(std::uint64_t index, ByteView plain) = 0;
  /// All chunks are in: make the delivery visible.
  virtual Result<> finish() = 0;
  /// The download failed or was cancelled: wipe and remove what is there. Must not fail.
  virtual void abort(const Error& why) = 0;
};

}  // namespace tb::asset
