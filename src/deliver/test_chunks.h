// For tests only: chunks that were never sealed. TestChunks blocks, fails and counts where a test says so;
// UnsteadyChunks does so by itself, and has no lock, which would order the threads that call it and so hide their
// races.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>
#include <thread>

#include "asset/chunk_source.h"
#include "asset/manifest.h"
#include "blob/sealed_sample.h"

namespace tb::deliver::test {

inline std::uint8_t plain_byte(std::uint64_t offset) {
  return static_cast<std::uint8_t>(offset * 31 + (offset >> 9) * 7 + (offset >> 20) + 1);
}
inline Bytes plain(std::uint64_t offset, std::size_t bytes) {
  Bytes out(bytes);
  for (std::size_t i = 0; i < bytes; ++i) out[i] = plain_byte(offset + i);
  return out;
}
inline bool is_plain(std::uint64_t offset, ByteView bytes) {
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    if (bytes[i] != plain_byte(offset + i)) return false;
  }
  return !bytes.empty();
}

/// A manifest of one raw file, for chunks that were never sealed.
inline asset::Manifest manifest_of(const tbenc::Layout& layout) {
  Json document = blob::SealedSample::make({}, layout.chunk_bytes()).manifest.document();
  document.set("plaintext_bytes", static_cast<std::int64_t>(layout.plaintext_bytes()));
  document.erase("mac");
  return value_or_throw(asset::Manifest::from_json(document));
}

class TestChunks final : public asset::ChunkSource {
 public:
  static constexpr std::uint64_t kNone = ~std::uint64_t{0};

  TestChunks(std::uint64_t bytes, std::uint32_t chunk_bytes)
      : layout_(value_or_throw(tbenc::Layout::from_plaintext(bytes, chunk_bytes))) {}

  const tbenc::Layout& layout() const override { return layout_; }
  Result<> open_chunk(std::uint64_t index, MutableBytes out, std::stop_token stop) override {
    {
      std::unique_lock lock(mutex_);
      if (index == blocked_ && !in_block_) {
        in_block_ = true;
        changed_.notify_all();
        changed_.wait(lock, stop, [&] { return blocked_ == kNone; });
        in_block_ = false;
      }
      if (stop.stop_requested()) return fail("cancelled", "reading was stopped");
      ++opened_[index];
      changed_.notify_all();
      if (index == spoilt_) return fail("tag_mismatch", "chunk does not verify");
    }
    const std::uint64_t offset = layout_.plain_offset(index);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = plain_byte(offset + i);
    return {};
  }

  /// The next opening of `index` waits for unblock() or its stop token.
  void block(std::uint64_t index) { set(blocked_, index); }
  void unblock() { set(blocked_, kNone); }
  void wait_blocked() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return in_block_; });
  }
  void spoil(std::uint64_t index) { set(spoilt_, index); }
  int opened(std::uint64_t index) {
    const std::lock_guard lock(mutex_);
    return opened_[index];
  }
  void wait_opened(std::uint64_t index) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return opened_[index] != 0; });
  }

 private:
  void set(std::uint64_t& what, std::uint64_t value) {
    const std::lock_guard lock(mutex_);
    what = value;
    changed_.notify_all();
  }

  tbenc::Layout layout_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::uint64_t blocked_ = kNone, spoilt_ = kNone;
  bool in_block_ = false;
  std::map<std::uint64_t, int> opened_;
};

class UnsteadyChunks final : public asset::ChunkSource {
 public:
  /// Every `fails_every`th opening fails; 0: none does.
  UnsteadyChunks(std::uint64_t bytes, std::uint32_t chunk_bytes, unsigned fails_every)
      : layout_(value_or_throw(tbenc::Layout::from_plaintext(bytes, chunk_bytes))), fails_every_(fails_every) {}

  /// All bytes of a chunk are this one.
  static std::uint8_t byte_of(std::uint64_t chunk) { return static_cast<std::uint8_t>(chunk * 37 + 1); }
  std::uint8_t byte_at(std::uint64_t offset) const { return byte_of(layout_.chunk_of(offset)); }
  /// The first and last byte of `bytes`, and one of each page between, are those of the plaintext from `offset` on.
  bool is_plain(std::uint64_t offset, ByteView bytes) const {
    for (std::size_t i = 0; i < bytes.size(); i += 4096) {
      if (bytes[i] != byte_at(offset + i)) return false;
    }
    return bytes.empty() || bytes.back() == byte_at(offset + bytes.size() - 1);
  }

  const tbenc::Layout& layout() const override { return layout_; }
  Result<> open_chunk(std::uint64_t index, MutableBytes out, std::stop_token stop) override {
    const unsigned call = calls_.fetch_add(1, std::memory_order_relaxed);
    while (hangs_.load(std::memory_order_relaxed) && !stop.stop_requested()) std::this_thread::yield();
    if (call % 3 == 1) std::this_thread::yield();
    const bool fails = fails_every_ != 0 && call % fails_every_ == fails_every_ - 1;
    std::memset(out.data(), fails ? 0 : byte_of(index), out.size());
    if (stop.stop_requested()) return fail("cancelled", "reading was stopped");
    return fails ? fail("tag_mismatch", "chunk does not verify") : Result<>();
  }
  /// From now on whatever is opened waits for its stop token.
  void hang() { hangs_.store(true, std::memory_order_relaxed); }

 private:
  tbenc::Layout layout_;
  unsigned fails_every_;
  std::atomic<unsigned> calls_ = 0;
  std::atomic<bool> hangs_ = false;
};

}  // namespace tb::deliver::test
