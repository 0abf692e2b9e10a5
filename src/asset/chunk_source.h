// ChunkSource: opened chunks at any index, again and again. It is what a delivery that serves on demand (mount, FIFO)
// reads from; hydrate implements it over a blob and its cache, sealed_chunks.h over a file.
//
// What is given out is what was opened in this very call, never what was once checked: a source may keep ciphertext,
// but no plaintext. Who wants to open a chunk once for many readers keeps it (deliver/chunk_cache.h).
#pragma once

#include <cstdint>
#include <stop_token>

#include "base/bytes.h"
#include "base/result.h"
#include "tbenc/layout.h"

namespace tb::asset {

class ChunkSource {
 public:
  ChunkSource() = default;
  ChunkSource(const ChunkSource&) = delete;
  ChunkSource& operator=(const ChunkSource&) = delete;
  virtual ~ChunkSource() = default;

  virtual const tbenc::Layout& layout() const = 0;
  /// Fills `plain`, layout().chunk_plain_bytes(index) bytes, with the plaintext of chunk `index`. Blocks while the
  /// chunk is fetched; "cancelled" on a stop request. From any threads, also for the same chunk at once. On an error
  /// `plain` holds zeros. Errors: "tag_mismatch" (tampered, or another key), those of where the ciphertext lies.
  virtual Result<> open_chunk(std::uint64_t index, MutableBytes plain, std::stop_token stop) = 0;
};

}  // namespace tb::asset
