// For tests only: a ChunkSource of bytes that follow from their offset, which can block, fail and count.
#pragma once

#include <condition_variable>
#include <map>
#include <mutex>

#include "asset/chunk_source.h"

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

}  // namespace tb::deliver::test
