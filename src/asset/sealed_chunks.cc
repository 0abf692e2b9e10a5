#include "asset/sealed_chunks.h"

#include "tbenc/buffer.h"

namespace tb::asset {

SealedChunks::SealedChunks(const FileKey& key, std::shared_ptr<const tbenc::RandomSource> source,
                           const tbenc::FileHead& head)
    : cipher_(key, head.header), source_(std::move(source)), head_(head) {}

Result<std::shared_ptr<SealedChunks>> SealedChunks::open(const FileKey& key,
                                                         std::shared_ptr<const tbenc::RandomSource> source,
                                                         const tbenc::Known& known) {
  const tbenc::FileHead head = TRY(tbenc::read_head(*source, known));
  return std::shared_ptr<SealedChunks>(new SealedChunks(key, std::move(source), head));
}

Result<std::unique_ptr<SealedChunks::Bench>> SealedChunks::take() {
  const std::lock_guard lock(mutex_);
  if (idle_.empty()) {
    auto record = TRY(tbenc::allocate_buffer(static_cast<std::size_t>(layout().record_bytes(0))));
    return std::make_unique<Bench>(Bench{cipher_.clone(), std::move(record)});
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
    auto bench = TRY(take());
    auto result = open_with(*bench, index, plain);
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(bench));
    return result;
  }();
  if (!opened) wipe(plain.data(), plain.size());
  return opened;
}

Result<> SealedChunks::open_with(Bench& bench, std::uint64_t index, MutableBytes plain) const {
  const MutableBytes record = bench.record.span().first(static_cast<std::size_t>(layout().record_bytes(index)));
  TRY(source_->read_at(layout().record_offset(index), record));
  return bench.cipher.open(index, record, plain);
}

}  // namespace tb::asset
