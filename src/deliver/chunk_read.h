// Reads of any bytes of the plaintext out of a ChunkCache, without keeping the thread that asks.
//
// An answer is views straight into pinned chunks: nothing is copied. Only a read that spans chunks of which one went
// while it waited for the other keeps the bytes it had in a buffer of its own, so that it always gets on and never
// holds a slot while it waits for another.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/secret.h"
#include "deliver/chunk_cache.h"

namespace tb::deliver {

/// What a read gives: the bytes in order, good as long as this lives.
struct ReadAnswer {
  std::vector<ByteView> pieces;
  std::vector<ChunkCache::Pin> pins{};
  WipedBuffer copied{};
};
using ReadDone = std::move_only_function<void(Result<ReadAnswer>)>;

/// Where a mount's answers come from. An interface so that a benchmark can put nothing behind the same session.
class StreamReader {
 public:
  StreamReader() = default;
  StreamReader(const StreamReader&) = delete;
  StreamReader& operator=(const StreamReader&) = delete;
  virtual ~StreamReader() = default;

  virtual std::uint64_t size() const = 0;
  /// Calls `done` exactly once, perhaps before it returns, else on another thread; never blocks on a chunk. The bytes
  /// must lie within size(). Errors: those of ChunkSource::open_chunk, "cancelled".
  virtual void read(std::uint64_t offset, std::size_t bytes, ReadDone done) = 0;
  /// The reader goes on in order and has come to `offset`: what follows may be prepared.
  virtual void going_on(std::uint64_t offset) = 0;
  /// Answers all who wait with "cancelled", and everyone from now on; wipes what it keeps.
  virtual void cancel() = 0;
};

class ChunkReader final : public StreamReader {
 public:
  /// Reads of more pieces than this (chunks of a few KiB) are copied together instead of pinned.
  static constexpr std::size_t kMostPieces = 16;

  ChunkReader(std::shared_ptr<asset::ChunkSource> source, unsigned loaders,
              std::size_t most_slots = ChunkCache::kMostSlots);

  std::uint64_t size() const override { return cache_.layout().plaintext_bytes(); }
  void read(std::uint64_t offset, std::size_t bytes, ReadDone done) override;
  void going_on(std::uint64_t offset) override;
  void cancel() override { cache_.cancel(); }
  ChunkCache& cache() { return cache_; }

 private:
  ChunkCache cache_;
  std::uint64_t chunks_ahead_;
};

}  // namespace tb::deliver
