#include "asset/sealed_chunks.h"

#include <algorithm>

#include "tbenc/record_opening.h"

namespace tb::asset {
namespace {

/// Read at once: small enough to be decrypted from the processor's cache.
constexpr std::size_t kPieceBytes = std::size_t{256} << 10;

}  // namespace

SealedChunks::SealedChunks(const FileKey& key, std::shared_ptr<const tbenc::RandomSource> source,
                           const tbenc::FileHead& head)
    : cipher_(key, head.header), source_(std::move(source)), head_(head) {}

Result<std::shared_ptr<SealedChunks>> SealedChunks::open(const FileKey& key,
                                                         std::shared_ptr<const tbenc::RandomSource> source,
                                                         const tbenc::Known& known) {
  const tbenc::FileHead head = TRY(tbenc::read_head(*source, known));
  return std::shared_ptr<SealedChunks>(new SealedChunks(key, std::move(source), head));
}

std::unique_ptr<SealedChunks::Bench> SealedChunks::take() {
  const std::lock_guard lock(mutex_);
  if (idle_.empty()) {
    const auto most = static_cast<std::size_t>(layout().record_bytes(0));
    return std::make_unique<Bench>(Bench{cipher_.clone(), Bytes(std::min(most, kPieceBytes))});
  }
  auto bench = std::move(idle_.back());
  idle_.pop_back();
  return bench;
}

Result<> SealedChunks::open_chunk(std::uint64_t index, MutableBytes plain, std::stop_token stop) {
  const auto opened = [&]() -> Result<> {
    if (stop.stop_requested()) return fail("cancelled", "reading was stopped");
    if (index >= layout().chunk_count() || plain.size() != layout().chunk_plain_bytes(index)) {
      return fail("range_invalid", "there is no such chunk");
    }
    auto bench = take();
    auto result = open_with(*bench, index, plain);
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(bench));
    return result;
  }();
  if (!opened) wipe(plain.data(), plain.size());
  return opened;
}

Result<> SealedChunks::open_with(Bench& bench, std::uint64_t index, MutableBytes plain) const {
  tbenc::RecordOpening opening(bench.cipher, index, plain);
  for (std::uint64_t at = layout().record_offset(index); opening.missing() != 0;) {
    const MutableBytes piece = MutableBytes(bench.piece).first(std::min(bench.piece.size(), opening.missing()));
    TRY(source_->read_at(at, piece));
    TRY(opening.feed(piece));
    at += piece.size();
  }
  return {};
}

}  // namespace tb::asset
