// Ciphertext in, opened chunks out, in one pass: each chunk is fetched, opened and handed on once, by N connections at
// the same time, within two buffers of one record a connection.
//
// There are three ways to take what comes, and a delivery uses one of them:
//   run(sink)       every chunk once, to a sink that wants them all (files in memory);
//   verify(offer)   every chunk fetched and verified into the cache, for a delivery that serves from there;
//   open_chunk()    one chunk now, from the cache or, if it has not come yet, before all others (lazy mount).
// What the modes differ in is when plaintext may leave: `overlap` as each chunk's tag verifies, only for a manifest
// with a mac: tags, nonce prefix, count and total then prove the file, and a failure aborts the sink, which wipes;
// `strict` after every chunk has verified (and sha256_ciphertext, if the manifest has no mac). A manifest without mac
// is always handled as strict, whatever was asked (spec: tbenc-v1 5). `lazy` is overlap on demand: the caller serves
// while verify() runs beside.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "asset/chunk_source.h"
#include "asset/sink.h"
#include "async/backoff.h"
#include "base/secret.h"
#include "blob/source.h"
#include "hydrate/cache.h"
#include "hydrate/chunk_table.h"
#include "hydrate/manifest_check.h"
#include "hydrate/progress.h"
#include "hydrate/record_fetch.h"
#include "tbenc/chunk.h"
#include "tbenc/record_opening.h"

namespace tb::hydrate {

enum class Mode { kOverlap, kStrict };
enum class CacheKind {
  kDisk,
  kMemory,
  kNone,  ///< what open_chunk() fetches is not kept; verify() and strict need another kind
};

struct Options {
  unsigned connections = 4;                     ///< TB_DOWNLOAD_CONCURRENCY, 1 to 32; 0: found by watching (`auto`)
  std::uint64_t request_bytes = 8U << 20;       ///< TB_DOWNLOAD_CHUNK_BYTES, 1024 to 67108864
  Mode mode = Mode::kOverlap;                   ///< TB_HYDRATE; lazy is kOverlap here
  CacheKind cache = CacheKind::kDisk;           ///< TB_CACHE
  std::string cache_directory;                  ///< TB_TARGET_DIR, for CacheKind::kDisk
  async::BackoffPolicy backoff{.attempts = 8};  ///< per range; a byte of progress starts the count anew
  /// Blocks until so many bytes more may be downloaded; may throw. None: no limit.
  std::function<void(std::uint64_t bytes, std::stop_token stop)> paced;
};

class Hydration final : public asset::ChunkSource {
 public:
  /// `source` outlives it. `kept` is a cache() of before, used if it is this asset's. "size_overflow" for more chunks
  /// than are tracked (2^30).
  Hydration(Options options, AuthenticatedManifest asset, FileKey key, blob::BlobSource& source,
            std::shared_ptr<Cache> kept = nullptr);

  /// Header and cache; once, before everything else. `on_demand`: open_chunk() will be used. Throws Error: those of
  /// BlobSource::fetch; "header_malformed", "header_mismatch", "nonce_prefix_mismatch"; "ciphertext_truncated",
  /// "trailing_bytes" for a blob of another size; "disk_full", "memory_short", "path_unsafe"; "cancelled".
  void prepare(bool on_demand, std::stop_token stop);

  /// True if open_chunk() may be used before verify() has ended.
  bool may_serve_at_once() const { return !hash_first_ && options_.mode != Mode::kStrict; }

  /// prepare(), begin, every chunk once, finish; on any failure abort, and then throws the Error. Errors of prepare;
  /// those of BlobSource::fetch; "tag_mismatch" (tampered, or another key); "ciphertext_digest_mismatch"; "disk_full",
  /// "cancelled"; those of the sink.
  void run(asset::ChunkSink& sink, std::stop_token stop);

  /// After prepare(true, …): returns when every chunk has been fetched and verified. `offer`, if there is one, is shown
  /// each chunk as it verifies. Errors of run.
  void verify(asset::ChunkSink* offer, std::stop_token stop);

  // asset::ChunkSource, after prepare(true, …).
  const tbenc::Layout& layout() const override { return layout_; }
  Result<> open_chunk(std::uint64_t index, MutableBytes plain, std::stop_token stop) override;

  /// The verified ciphertext, to be given to the next Hydration; nullptr if none is kept.
  std::shared_ptr<Cache> cache() const { return cache_; }
  /// Any thread, any time.
  Progress progress() const { return meter_.snapshot(); }

 private:
  friend class ChunkPass;
  struct Bench;
  /// A record that comes from the blob: kept and opened piece by piece, into `place` or, where that is empty, into the
  /// bench's own record.
  class Arrival {
   public:
    Arrival(Hydration& of, Bench& bench, std::uint64_t chunk, MutableBytes place);
    /// True with the last piece: the chunk has verified and stands in plain(). Throws what opening and keeping do.
    bool take(std::size_t at, ByteView piece);
    MutableBytes plain() const { return plain_; }

   private:
    void keep(std::size_t at, ByteView piece);

    Hydration& of_;
    Bench& bench_;
    std::uint64_t chunk_;
    MutableBytes plain_;
    tbenc::RecordOpening opening_;
    bool kept_;
    std::size_t gathered_ = 0;  ///< bytes in the bench's piece that are not stored yet
  };

  /// What a thread needs to work.
  struct Bench {
    tbenc::ChunkCipher cipher;
    WipedBuffer own;  ///< for a chunk that has no other place
    Bytes piece;      ///< of ciphertext, from or for a disk
    MutableBytes own_place(std::size_t bytes) { return own.span().first(bytes); }
  };

  tbenc::Header fetch_header(std::stop_token stop);
  bool wants_cache(bool on_demand) const;
  void open_cache();
  std::unique_ptr<Bench> take_bench();
  void return_bench(std::unique_ptr<Bench> bench);
  RecordFetch fetcher();
  void keep_header(const tbenc::Header& header);
  bool keep(std::uint64_t chunk, std::size_t at, ByteView piece);
  Result<> open_kept(Bench& bench, std::uint64_t chunk, MutableBytes plain) const;
  std::optional<MutableBytes> from_cache(Bench& bench, std::uint64_t chunk, MutableBytes place, bool may_fetch);
  Result<> fetch_now(std::uint64_t index, MutableBytes plain, std::stop_token stop);

  Options options_;
  AuthenticatedManifest asset_;
  FileKey key_;
  blob::BlobSource& source_;
  tbenc::Layout layout_;
  bool hash_first_;
  Meter meter_;
  std::shared_ptr<Cache> cache_;
  std::unique_ptr<ChunkTable> table_;
  std::optional<tbenc::ChunkCipher> cipher_;
  std::mutex benches_mutex_;
  std::vector<std::unique_ptr<Bench>> benches_;
};

}  // namespace tb::hydrate
