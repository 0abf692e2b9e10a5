// Ciphertext in, opened chunks out to an asset::ChunkSink, by N connections in one pass.
//
// Each of N threads takes the next range, streams it from the blob, opens every record as soon as its last byte is
// there and hands the plaintext to the sink: download, verification and delivery overlap, memory is bounded by two
// chunks a thread. What the modes differ in is when plaintext may reach the sink:
//   overlap  as each chunk's tag verifies. Only for a manifest with a mac: tags, nonce prefix, count and total then
//   prove
//            the file, and a failure aborts the sink, which wipes.
//   strict   nothing before every chunk has verified (and sha256_ciphertext, if the manifest has no mac): ciphertext
//   goes
//            to a cache, and from there, each tag checked again, to the sink.
// A manifest without mac is always handled as strict, whatever was asked (spec: tbenc-v1 5).
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>

#include "asset/sink.h"
#include "async/backoff.h"
#include "base/secret.h"
#include "blob/source.h"
#include "hydrate/cache.h"
#include "hydrate/manifest_check.h"
#include "hydrate/progress.h"

namespace tb::hydrate {

enum class Mode { kOverlap, kStrict };

struct Options {
  unsigned connections = 4;                     ///< TB_DOWNLOAD_CONCURRENCY, 1 to 32
  std::uint64_t request_bytes = 8U << 20;       ///< TB_DOWNLOAD_CHUNK_BYTES, 1024 to 67108864
  Mode mode = Mode::kOverlap;                   ///< TB_HYDRATE
  CacheKind cache = CacheKind::kDisk;           ///< TB_CACHE
  std::string cache_directory;                  ///< TB_TARGET_DIR, for CacheKind::kDisk
  async::BackoffPolicy backoff{.attempts = 8};  ///< per range; a byte of progress starts the count anew
};

class Hydration {
 public:
  explicit Hydration(Options options) : options_(std::move(options)) {}

  /// Brings `asset` from `source` to `sink`: begin, every chunk once, finish; on any failure abort, and then throws the
  /// Error. With `sink_takes_chunks` false (a delivery that reads ciphertext()) the sink sees begin() and finish()
  /// only, and everything is verified into the cache. The cache stays for the next run of the same manifest, which then
  /// fetches only what is missing; in memory it is made only where it is needed (strict, or a sink that takes no
  /// chunks). One run at a time. Errors: those of BlobSource::fetch; "tag_mismatch" (tampered, or another key);
  /// "ciphertext_truncated", "trailing_bytes", "header_malformed", "header_mismatch", "nonce_prefix_mismatch";
  /// "ciphertext_digest_mismatch", "disk_full", "memory_short", "cancelled"; those of the sink.
  void run(const AuthenticatedManifest& asset, const FileKey& key, blob::BlobSource& source, asset::ChunkSink& sink,
           bool sink_takes_chunks, std::stop_token stop);

  /// The verified ciphertext of the last run, or nullptr if it was not kept. Readers open it by tag.
  std::shared_ptr<Cache> ciphertext() const;
  /// Drops it (the asset is not wanted any more); readers that still hold it keep it alive.
  void drop_ciphertext();

  /// Any thread, any time.
  Progress progress() const { return meter_.snapshot(); }

 private:
  tbenc::Header fetch_header(const asset::Manifest& manifest, blob::BlobSource& source, std::stop_token stop) const;
  std::shared_ptr<Cache> kept_for(const asset::Manifest& manifest) const;
  std::shared_ptr<Cache> cache_for(const asset::Manifest& manifest, const tbenc::Header& header);

  Options options_;
  Meter meter_;
  mutable std::mutex mutex_;
  std::shared_ptr<Cache> cache_;
  std::string cache_of_;  ///< digest of the manifest that cache_ belongs to
};

}  // namespace tb::hydrate
