#include "deliver/chunk_read.h"

#include <algorithm>
#include <cstring>

#include "tbenc/buffer.h"

namespace tb::deliver {
namespace {

/// As many chunks are prepared as hold this much, at least one: opening must be ahead of copying, not of everything.
constexpr std::uint64_t kAheadBytes = std::uint64_t{8} << 20;

struct Piece {
  std::uint64_t chunk;
  std::size_t from;  ///< within the chunk
  std::size_t at;    ///< within the answer
  std::size_t bytes;
  bool copied = false;
};

struct Reading {
  ChunkCache& cache;
  std::size_t bytes;
  std::vector<Piece> pieces;
  ReadDone done;
  WipedBuffer buffer{};  ///< of all bytes, once one piece had to be copied

  Reading(ChunkCache& from, std::uint64_t offset, std::size_t count, ReadDone then)
      : cache(from), bytes(count), done(std::move(then)) {
    const tbenc::Layout& layout = cache.layout();
    for (std::size_t at = 0; at < bytes;) {
      const std::uint64_t chunk = layout.chunk_of(offset + at);
      const auto start = static_cast<std::size_t>(offset + at - layout.plain_offset(chunk));
      const std::size_t some = std::min<std::size_t>(layout.chunk_plain_bytes(chunk) - start, bytes - at);
      pieces.push_back({chunk, start, at, some});
      at += some;
    }
  }

  Result<> copy(Piece& piece, const ChunkCache::Pin& pin) {
    if (buffer.size() == 0) buffer = TRY(tbenc::allocate_buffer(bytes));
    std::memcpy(buffer.data() + piece.at, pin.view().data() + piece.from, piece.bytes);
    piece.copied = true;
    return {};
  }

  /// Pins what is here, up to the first piece that is not; gives that, or nullptr.
  Result<Piece*> gather(std::optional<ChunkCache::Pin>& arrived, std::vector<ChunkCache::Pin>& pins) {
    const bool copy_all = pieces.size() > ChunkReader::kMostPieces;
    for (Piece& piece : pieces) {
      if (piece.copied) continue;
      auto pin =
          arrived && arrived->index() == piece.chunk ? std::exchange(arrived, std::nullopt) : cache.find(piece.chunk);
      if (!pin) return &piece;
      if (copy_all) {
        TRY(copy(piece, *pin));
      } else {
        pins.push_back(std::move(*pin));
      }
    }
    return nullptr;
  }

  /// The one that was waited for must not have come in vain; and once something is copied, all that is here is.
  Result<> keep(const std::optional<ChunkCache::Pin>& arrived, const std::vector<ChunkCache::Pin>& pins) {
    for (Piece& piece : pieces) {
      if (piece.copied) continue;
      if (arrived && piece.chunk == arrived->index()) TRY(copy(piece, *arrived));
      const auto held = std::ranges::find(pins, piece.chunk, &ChunkCache::Pin::index);
      if (buffer.size() != 0 && held != pins.end() && !piece.copied) TRY(copy(piece, *held));
    }
    return {};
  }
};

void finish(Reading& reading, std::vector<ChunkCache::Pin> pins) {
  ReadAnswer answer;
  auto pin = pins.begin();
  for (const Piece& piece : reading.pieces) {
    const ByteView view = piece.copied ? reading.buffer.view().subspan(piece.at, piece.bytes)
                                       : (pin++)->view().subspan(piece.from, piece.bytes);
    // Copied pieces lie side by side.
    if (piece.copied && !answer.pieces.empty() &&
        answer.pieces.back().data() + answer.pieces.back().size() == view.data()) {
      answer.pieces.back() = {answer.pieces.back().data(), answer.pieces.back().size() + view.size()};
    } else {
      answer.pieces.push_back(view);
    }
  }
  answer.pins = std::move(pins);
  answer.copied = std::move(reading.buffer);
  reading.done(std::move(answer));
}

/// Goes on until the answer is given or a chunk must be waited for. `arrived` is the chunk that was waited for.
void proceed(std::unique_ptr<Reading> reading, std::optional<ChunkCache::Pin> arrived) {
  while (true) {
    std::vector<ChunkCache::Pin> pins;
    const auto missing = reading->gather(arrived, pins);
    if (!missing) return reading->done(std::unexpected(missing.error()));
    if (*missing == nullptr) return finish(*reading, std::move(pins));
    if (auto kept = reading->keep(arrived, pins); !kept) return reading->done(std::unexpected(std::move(kept.error())));
    pins.clear();
    arrived.reset();
    const std::uint64_t chunk = (*missing)->chunk;
    Reading* const raw = reading.release();
    ChunkCache::Waiter waiter = [raw](Result<ChunkCache::Pin> pin) {
      std::unique_ptr<Reading> back(raw);
      if (!pin) return back->done(std::unexpected(std::move(pin.error())));
      proceed(std::move(back), std::move(*pin));
    };
    auto fetched = raw->cache.fetch(chunk, waiter);
    // Taken: it is the waiter's now, which may have run already.
    if (fetched && !*fetched) return;
    reading.reset(raw);
    if (!fetched) return reading->done(std::unexpected(std::move(fetched.error())));
    arrived = std::move(**fetched);
  }
}

}  // namespace

ChunkReader::ChunkReader(std::shared_ptr<asset::ChunkSource> source, unsigned loaders, std::size_t most_slots)
    : cache_(std::move(source), loaders, most_slots),
      chunks_ahead_(
          std::clamp<std::uint64_t>(kAheadBytes / cache_.layout().chunk_bytes(), 1, cache_.slot_count() / 3)) {}

void ChunkReader::read(std::uint64_t offset, std::size_t bytes, ReadDone done) {
  proceed(std::make_unique<Reading>(cache_, offset, bytes, std::move(done)), std::nullopt);
}

void ChunkReader::going_on(std::uint64_t offset) {
  const std::uint64_t chunk = cache_.layout().chunk_of(offset);
  for (std::uint64_t next = chunk + 1; next <= chunk + chunks_ahead_; ++next) cache_.load_ahead(next);
}

}  // namespace tb::deliver
