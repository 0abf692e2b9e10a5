#include "hydrate/hydration.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <optional>
#include <thread>

#include "base/crypto.h"
#include "hydrate/chunk_pass.h"
#include "hydrate/retry.h"

namespace tb::hydrate {
namespace {

/// SHA-256 of the whole ciphertext, in order, record by record as they arrive in the cache, on a thread of its own
/// while others download.
class DigestOnTheWay {
 public:
  explicit DigestOnTheWay(const Cache& cache) : cache_(cache), thread_([this](std::stop_token stop) { run(stop); }) {}

  /// After the last record has arrived: throws "ciphertext_digest_mismatch" unless it is `expected` (lower-case hex).
  void require(std::string_view expected) {
    thread_.join();
    if (error_) throw Error(*error_);
    if (!equal_constant_time(to_hex(digest_), expected)) {
      throw Error("ciphertext_digest_mismatch", "the ciphertext's SHA-256 is not the manifest's");
    }
  }

 private:
  void run(const std::stop_token& stop) {
    Sha256 hash;
    hash.update(tbenc::encode_header(cache_.header()));
    Bytes record(cache_.layout().chunk_bytes() + tbenc::kRecordOverhead);
    for (std::uint64_t chunk = 0; chunk < cache_.layout().chunk_count(); ++chunk) {
      if (!cache_.wait_for(chunk, stop)) return;
      const MutableBytes bytes =
          MutableBytes(record).first(static_cast<std::size_t>(cache_.layout().record_bytes(chunk)));
      if (auto read = cache_.read_record(chunk, bytes); !read) {
        error_ = std::move(read.error());
        return;
      }
      hash.update(bytes);
    }
    digest_ = hash.finish();
  }

  const Cache& cache_;
  Digest digest_{};
  std::optional<Error> error_;
  std::jthread thread_;
};

}  // namespace

void Hydration::run(const AuthenticatedManifest& asset, const FileKey& key, blob::BlobSource& source,
                    asset::ChunkSink& sink, bool sink_takes_chunks, std::stop_token stop) {
  const asset::Manifest& manifest = asset.manifest;
  const tbenc::Layout layout = manifest.layout();
  const bool hash_first = asset.how.needs_ciphertext_sha256();
  const bool verify_first = hash_first || options_.mode == Mode::kStrict || !sink_takes_chunks;
  meter_.start(layout.ciphertext_bytes());

  const std::shared_ptr<Cache> kept = kept_for(manifest);
  const bool have_all = kept && kept->complete();
  const tbenc::Header header = have_all ? kept->header() : fetch_header(manifest, source, stop);
  meter_.add(tbenc::kHeaderBytes, have_all);
  const std::shared_ptr<Cache> cache =
      verify_first || options_.cache == CacheKind::kDisk ? cache_for(manifest, header) : nullptr;

  const tbenc::ChunkCipher cipher(key, header);
  ChunkPass pass{.cipher = cipher,
                 .layout = layout,
                 .source = &source,
                 .cache = cache.get(),
                 .sink = verify_first ? nullptr : &sink,
                 .meter = &meter_,
                 .connections = options_.connections,
                 .request_bytes = options_.request_bytes,
                 .backoff = options_.backoff};
  value_or_throw(sink.begin(manifest, layout));
  try {
    {
      std::optional<DigestOnTheWay> digest;
      if (hash_first) digest.emplace(*cache);
      pass.run(stop);
      if (digest) digest->require(manifest.sha256_ciphertext());
    }
    if (verify_first && sink_takes_chunks) {
      pass.source = nullptr;
      pass.sink = &sink;
      pass.meter = nullptr;
      pass.run(stop);
    }
    value_or_throw(sink.finish());
  } catch (const Error& error) {
    sink.abort(error);
    // A cache whose whole is wrong though each record opened would be wrong again.
    if (error.reason == "ciphertext_digest_mismatch") drop_ciphertext();
    throw;
  }
}

tbenc::Header Hydration::fetch_header(const asset::Manifest& manifest, blob::BlobSource& source,
                                      std::stop_token stop) const {
  Retry retry(options_.backoff, stop);
  Bytes bytes;
  const auto take = [&bytes](ByteView piece) { bytes.insert(bytes.end(), piece.begin(), piece.end()); };
  while (bytes.size() < tbenc::kHeaderBytes) {
    try {
      source.fetch(bytes.size(), tbenc::kHeaderBytes - bytes.size(), take, stop);
    } catch (const blob::FetchError& error) {
      retry.wait_or_rethrow(error, error.retry_after_ms);
    } catch (const Error& error) {
      retry.wait_or_rethrow(error, std::nullopt);
    }
  }
  const tbenc::Header header = value_or_throw(tbenc::parse_header(bytes));
  value_or_throw(asset::check_file(manifest, header, source.stat().bytes));
  return header;
}

std::shared_ptr<Cache> Hydration::cache_for(const asset::Manifest& manifest, const tbenc::Header& header) {
  if (auto kept = kept_for(manifest); kept && kept->header() == header) return kept;
  drop_ciphertext();
  const std::lock_guard lock(mutex_);
  cache_ = value_or_throw(Cache::create(options_.cache, options_.cache_directory, manifest.layout(), header));
  cache_of_ = manifest.sha256();
  return cache_;
}

std::shared_ptr<Cache> Hydration::kept_for(const asset::Manifest& manifest) const {
  const std::string digest = manifest.sha256();
  const std::lock_guard lock(mutex_);
  return cache_of_ == digest ? cache_ : nullptr;
}

std::shared_ptr<Cache> Hydration::ciphertext() const {
  const std::lock_guard lock(mutex_);
  return cache_;
}

void Hydration::drop_ciphertext() {
  const std::lock_guard lock(mutex_);
  cache_.reset();
  cache_of_.clear();
}

}  // namespace tb::hydrate
