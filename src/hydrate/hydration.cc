#include "hydrate/hydration.h"

#include <algorithm>
#include <thread>

#include "base/crypto.h"
#include "hydrate/chunk_pass.h"
#include "hydrate/retry.h"
#include "tbenc/buffer.h"

namespace tb::hydrate {
namespace {

/// More records than this are not tracked: their bits alone would take 256 MiB.
constexpr std::uint64_t kMostChunks = std::uint64_t{1} << 30;

/// Read at once from a cache on a disk: small enough to be decrypted from the processor's cache.
constexpr std::size_t kPieceBytes = std::size_t{256} << 10;

/// SHA-256 of the whole ciphertext, in order, record by record as they are verified in the cache, on a thread of its
/// own while others download.
class DigestOnTheWay {
 public:
  DigestOnTheWay(const Cache& cache, const ChunkTable& table)
      : cache_(cache), table_(table), thread_([this](std::stop_token stop) { run(stop); }) {}

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
    if (auto hashed = hash(stop); !hashed) error_ = std::move(hashed.error());
  }
  Result<> hash(const std::stop_token& stop) {
    Sha256 hash;
    Bytes bytes(tbenc::kHeaderBytes);
    TRY(cache_.read_at(0, bytes));
    hash.update(bytes);
    bytes.resize(cache_.layout().chunk_bytes() + tbenc::kRecordOverhead);
    for (std::uint64_t chunk = 0; chunk < cache_.layout().chunk_count(); ++chunk) {
      if (!table_.wait_done(chunk, stop)) return {};
      const auto record = MutableBytes(bytes).first(static_cast<std::size_t>(cache_.layout().record_bytes(chunk)));
      TRY(cache_.read_record(chunk, record));
      hash.update(record);
    }
    digest_ = hash.finish();
    return {};
  }

  const Cache& cache_;
  const ChunkTable& table_;
  Digest digest_{};
  std::optional<Error> error_;
  std::jthread thread_;
};

Digest digest_of(const asset::Manifest& manifest) {
  const Bytes bytes = value_or_throw(from_hex(manifest.sha256()));
  Digest digest{};
  std::ranges::copy(bytes, digest.begin());
  return digest;
}

}  // namespace

Hydration::Hydration(Options options, AuthenticatedManifest asset, FileKey key, blob::BlobSource& source,
                     std::shared_ptr<Cache> kept)
    : options_(std::move(options)),
      asset_(std::move(asset)),
      key_(std::move(key)),
      source_(source),
      layout_(asset_.manifest.layout()),
      hash_first_(asset_.how.needs_ciphertext_sha256()) {
  if (layout_.chunk_count() > kMostChunks) {
    throw Error("size_overflow", "the asset has more chunks than can be tracked: encrypt it with larger ones");
  }
  if (kept && kept->is_of(digest_of(asset_.manifest), layout_)) cache_ = std::move(kept);
  meter_.start(layout_.ciphertext_bytes());
}

void Hydration::prepare(bool on_demand, std::stop_token stop) {
  if (wants_cache(on_demand)) open_cache();
  tbenc::Header header;
  const auto stored = cache_ ? cache_->header() : fail("header_malformed", "nothing is kept");
  if (stored && tbenc::check_header(*stored, asset_.manifest.known()) && cache_->complete()) {
    header = *stored;
    meter_.add(tbenc::kHeaderBytes, true);
  } else {
    header = fetch_header(stop);
    meter_.add(tbenc::kHeaderBytes, false);
    if (cache_ && stored && *stored != header) cache_->forget_all();
    if (cache_ && (!stored || *stored != header)) keep_header(header);
  }
  cipher_.emplace(key_, header);
  table_ = std::make_unique<ChunkTable>(layout_, options_.request_bytes);
}

/// Ciphertext that lies on this machine is its own cache, unless its hash is the proof: then it is what was hashed that
/// has to be opened.
bool Hydration::wants_cache(bool on_demand) const {
  if (hash_first_) return true;
  if (source_.is_local() || options_.cache == CacheKind::kNone) return false;
  return options_.cache == CacheKind::kDisk || on_demand || options_.mode == Mode::kStrict;
}

/// The first request: it also fixes size and version of the blob, so that a wrong one is refused before anything else
/// is fetched.
tbenc::Header Hydration::fetch_header(std::stop_token stop) {
  Bytes bytes;
  Retry retry(options_.backoff, stop);
  const auto take = [&](ByteView piece) { bytes.insert(bytes.end(), piece.begin(), piece.end()); };
  while (bytes.size() < tbenc::kHeaderBytes) {
    try {
      source_.fetch(bytes.size(), tbenc::kHeaderBytes - bytes.size(), take, stop);
    } catch (const blob::FetchError& error) {
      retry.wait_or_rethrow(error, error.retry_after_ms);
      meter_.retried();
    } catch (const Error& error) {
      retry.wait_or_rethrow(error, std::nullopt);
      meter_.retried();
    }
  }
  const tbenc::Header header = value_or_throw(tbenc::parse_header(bytes));
  value_or_throw(asset::check_file(asset_.manifest, header, source_.stat().bytes));
  return header;
}

void Hydration::open_cache() {
  if (cache_) return;
  const Digest digest = digest_of(asset_.manifest);
  cache_ = value_or_throw(options_.cache == CacheKind::kDisk ? Cache::on_disk(options_.cache_directory, digest, layout_)
                                                             : Cache::in_memory(digest, layout_));
}

std::unique_ptr<Hydration::Bench> Hydration::take_bench() {
  {
    const std::lock_guard lock(benches_mutex_);
    if (!benches_.empty()) {
      auto bench = std::move(benches_.back());
      benches_.pop_back();
      return bench;
    }
  }
  const auto most = static_cast<std::size_t>(layout_.record_bytes(0));
  return std::make_unique<Bench>(
      Bench{cipher_->clone(), value_or_throw(tbenc::allocate_buffer(most)), Bytes(std::min(most, kPieceBytes))});
}

void Hydration::return_bench(std::unique_ptr<Bench> bench) {
  const std::lock_guard lock(benches_mutex_);
  benches_.push_back(std::move(bench));
}

RecordFetch Hydration::fetcher() {
  return {
      .source = source_, .layout = layout_, .backoff = options_.backoff, .paced = options_.paced, .retrying = [this] {
        meter_.retried();
      }};
}

void Hydration::keep_header(const tbenc::Header& header) {
  auto stored = cache_->store_header(header);
  if (stored) return;
  if (!may_serve_at_once() || stored.error().reason != "io_error") throw std::move(stored.error());
  meter_.cache_failed();
}

/// A disk that cannot keep what was fetched costs downloads later, and ends nothing now, unless what is kept is what
/// was to be verified. True if the piece was stored.
bool Hydration::keep(std::uint64_t chunk, std::size_t at, ByteView piece) {
  auto stored = cache_->store(chunk, at, piece);
  if (stored) return true;
  if (!may_serve_at_once() || stored.error().reason != "io_error") throw std::move(stored.error());
  meter_.cache_failed();
  return false;
}

Hydration::Arrival::Arrival(Hydration& of, Bench& bench, std::uint64_t chunk, MutableBytes place)
    : of_(of),
      bench_(bench),
      chunk_(chunk),
      plain_(place.empty() ? bench.own_place(of.layout_.chunk_plain_bytes(chunk)) : place),
      opening_(bench.cipher, chunk, plain_),
      kept_(of.cache_ != nullptr) {}

bool Hydration::Arrival::take(std::size_t at, ByteView piece) {
  if (kept_) keep(at, piece);
  value_or_throw(opening_.feed(piece));
  if (!opening_.done()) return false;
  if (kept_) of_.cache_->mark(chunk_);
  return true;
}

/// A disk gets larger writes than the network gives pieces.
void Hydration::Arrival::keep(std::size_t at, ByteView piece) {
  if (of_.cache_->is_in_memory()) {
    kept_ = of_.keep(chunk_, at, piece);
    return;
  }
  const std::size_t end = at + piece.size();
  const bool last = end == plain_.size() + tbenc::kRecordOverhead;
  while (kept_ && (!piece.empty() || (last && gathered_ != 0))) {
    const std::size_t some = std::min(piece.size(), bench_.piece.size() - gathered_);
    std::ranges::copy(piece.first(some), bench_.piece.data() + gathered_);
    piece = piece.subspan(some);
    gathered_ += some;
    if (gathered_ != bench_.piece.size() && !(last && piece.empty())) return;
    kept_ = of_.keep(chunk_, end - piece.size() - gathered_, ByteView(bench_.piece).first(gathered_));
    gathered_ = 0;
  }
}

Result<> Hydration::open_kept(Bench& bench, std::uint64_t chunk, MutableBytes plain) const {
  tbenc::RecordOpening opening(bench.cipher, chunk, plain);
  if (const ByteView record = cache_->record_in_memory(chunk); !record.empty()) return opening.feed(record);
  for (std::uint64_t at = layout_.record_offset(chunk); opening.missing() != 0;) {
    const MutableBytes piece = MutableBytes(bench.piece).first(std::min(bench.piece.size(), opening.missing()));
    TRY(cache_->read_at(at, piece));
    TRY(opening.feed(piece));
    at += piece.size();
  }
  return {};
}

/// Nothing if it is not there, or is damaged and may be fetched again.
std::optional<MutableBytes> Hydration::from_cache(Bench& bench, std::uint64_t chunk, MutableBytes place,
                                                  bool may_fetch) {
  if (!cache_ || !cache_->present(chunk)) {
    if (!may_fetch) throw Error("internal", "a chunk is in no cache and may not be fetched");
    return std::nullopt;
  }
  const MutableBytes plain = place.empty() ? bench.own_place(layout_.chunk_plain_bytes(chunk)) : place;
  const auto opened = open_kept(bench, chunk, plain);
  if (opened) return plain;
  if (!may_fetch) throw Error(opened.error());
  cache_->forget(chunk);
  return std::nullopt;
}

void Hydration::run(asset::ChunkSink& sink, std::stop_token stop) {
  prepare(false, stop);
  value_or_throw(sink.begin(asset_.manifest, layout_));
  try {
    if (may_serve_at_once()) {
      ChunkPass(*this, &sink, ChunkPass::Kind::kFirst).run(stop);
    } else {
      verify(nullptr, stop);
      table_ = std::make_unique<ChunkTable>(layout_, options_.request_bytes);
      ChunkPass(*this, &sink, cache_ ? ChunkPass::Kind::kFromCache : ChunkPass::Kind::kFromBlob).run(stop);
    }
    value_or_throw(sink.finish());
  } catch (const Error& error) {
    sink.abort(error);
    throw;
  }
}

void Hydration::verify(asset::ChunkSink* offer, std::stop_token stop) {
  if (!cache_ && !source_.is_local() && !may_serve_at_once()) {
    throw Error("internal", "what is verified has to be kept");
  }
  try {
    std::optional<DigestOnTheWay> digest;
    if (hash_first_) digest.emplace(*cache_, *table_);
    ChunkPass(*this, offer, ChunkPass::Kind::kFirst).run(stop);
    if (digest) digest->require(asset_.manifest.sha256_ciphertext());
  } catch (const Error& error) {
    // A cache whose whole is wrong though each record opened would be wrong again.
    if (error.reason == "ciphertext_digest_mismatch") cache_->forget_all();
    throw;
  }
}

Result<> Hydration::open_chunk(std::uint64_t index, MutableBytes plain, std::stop_token stop) {
  if (!table_ || index >= layout_.chunk_count() || plain.size() != layout_.chunk_plain_bytes(index)) {
    wipe(plain.data(), plain.size());
    return fail("range_invalid", "there is no such chunk");
  }
  Result<> got;
  try {
    got = fetch_now(index, plain, stop);
  } catch (const Error& error) {
    got = fail(error);
  } catch (const std::exception& error) {
    got = fail("internal", error.what());
  }
  if (!got) wipe(plain.data(), plain.size());
  return got;
}

Result<> Hydration::fetch_now(std::uint64_t index, MutableBytes plain, std::stop_token stop) {
  struct Borrowed {
    Hydration& from;
    std::unique_ptr<Bench> bench;
    ~Borrowed() { from.return_bench(std::move(bench)); }
  } const borrowed{*this, take_bench()};
  Bench& bench = *borrowed.bench;
  while (!stop.stop_requested()) {
    // Ciphertext whose SHA-256 was the proof is not replaced by what was fetched later.
    if ((cache_ && cache_->present(index)) || hash_first_) {
      if (from_cache(bench, index, plain, !hash_first_)) return {};
    }
    switch (table_->claim_or_wait(index, plain, stop)) {
      case ChunkTable::Answer::kFilled:
        return {};
      case ChunkTable::Answer::kStopped:
        return fail("cancelled", "reading was stopped");
      case ChunkTable::Answer::kRetry:
        break;
      case ChunkTable::Answer::kMine:
        try {
          const bool kept = from_cache(bench, index, plain, true).has_value();
          if (!kept) {
            Arrival arrival(*this, bench, index, plain);
            const auto on_piece = [&](std::uint64_t, std::size_t at, ByteView piece) { arrival.take(at, piece); };
            fetcher().run(table_->range_of(index, 1), on_piece, stop);
          }
          if (table_->finished(index, plain)) meter_.add(layout_.record_bytes(index), kept);
          return {};
        } catch (...) {
          table_->abandoned(index);
          throw;
        }
    }
  }
  return fail("cancelled", "reading was stopped");
}

}  // namespace tb::hydrate
