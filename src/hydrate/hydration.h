// Ciphertext in, opened chunks out to an asset::ChunkSink, by N connections in one pass.
//
// Each of N threads takes the next range, streams it from the blob, opens every record as soon as its last byte is there
// and hands the plaintext to the sink: download, verification and delivery overlap, memory is bounded by N records and
// N chunks. What the modes differ in is when plaintext may reach the sink:
//   overlap  as each chunk's tag verifies. Only for a manifest with a mac: tags, nonce prefix, count and total then prove
//            the file, and a failure aborts the sink, which wipes.
//   strict   nothing before every chunk has verified (and sha256_ciphertext, if the manifest has no mac): ciphertext goes
//            to a cache, and from there, each tag checked again, to the sink.
// A manifest without mac is always handled as strict, whatever was asked (spec: tbenc-v1 5).
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>

#include "asset/sink.h"
#include "base/secret.h"
#include "blob/source.h"
#include "hydrate/cache.h"
#include "hydrate/manifest_check.h"
#include "hydrate/retry.h"

namespace tb::hydrate {

enum class Mode { kOverlap, kStrict };

struct Options {
  unsigned connections = 4;                         ///< 1 to 32
  std::uint64_t request_bytes = 8u << 20;           ///< TB_DOWNLOAD_CHUNK_BYTES, 1024 to 67108864
  Mode mode = Mode::kOverlap;
  CacheKind cache = CacheKind::kDisk;
  std::string cache_directory;                      ///< TB_TARGET_DIR, for CacheKind::kDisk
  RetryPolicy retry;
};

/// A snapshot. Bytes are ciphertext that has verified; rate over the last seconds; no eta before there is a rate.
struct Progress {
  std::uint64_t bytes = 0;
  std::uint64_t total = 0;
  double bytes_per_second = 0;
  std::optional<double> eta_seconds;
  bool from_cache = false;
};

class Hydration {
 public:
  explicit Hydration(Options options);
  ~Hydration();

  /// Brings `asset` from `source` to `sink`: begin, every chunk once, finish; on any failure abort, and then throws the
  /// Error. Tells the sink nothing but begin() and finish() if `sink_takes_chunks` is false (a delivery that reads
  /// ciphertext(): everything is then verified into the cache). Keeps the cache afterwards if it is complete: a later
  /// run() of the same manifest needs no `source`. One run at a time.
  /// Errors: those of BlobSource::fetch; of tbenc (wrong key: "tag_mismatch"); "ciphertext_size_mismatch",
  /// "header_mismatch", "ciphertext_digest_mismatch", "disk_full", "memory_short", "cancelled"; those of the sink.
  void run(const AuthenticatedManifest& asset, const FileKey& key, blob::BlobSource& source, asset::ChunkSink& sink,
           bool sink_takes_chunks, std::stop_token stop);

  /// The verified ciphertext of the last run, or nullptr if it was not kept. Readers open it by tag.
  std::shared_ptr<Cache> ciphertext() const;
  /// Drops it (the asset is not wanted any more); readers that still hold it keep it alive.
  void drop_ciphertext();

  /// Any thread, any time.
  Progress progress() const;

 private:
  struct Run;
  struct Meter;
  Options options_;
  std::unique_ptr<Meter> meter_;
  mutable std::mutex mutex_;
  std::shared_ptr<Cache> cache_;
  std::string cache_of_;  ///< canonical digest of the manifest that cache_ belongs to
};

}  // namespace tb::hydrate
