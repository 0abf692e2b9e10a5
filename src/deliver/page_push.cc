#include "deliver/page_push.h"

#include <unistd.h>

#include <algorithm>

#include "base/clock.h"
#include "base/memory.h"

namespace tb::deliver {
namespace {

/// Asking costs several files' reading, a tenth of storing a small chunk; in this time no more is stored than a part of
/// kLeastFreeMemory.
constexpr std::int64_t kLookAgainMs = 20;

}  // namespace

PagePusher::PagePusher(const MountTree& tree, std::size_t most_pins, unsigned threads, MakeStore make_store)
    : tree_(tree), most_pins_(std::max<std::size_t>(1, most_pins)), make_store_(std::move(make_store)) {
  for (unsigned i = 0; i < std::max(1U, threads); ++i) threads_.emplace_back([this] { run(); });
}

void PagePusher::push(ChunkCache::Pin pin, std::chrono::milliseconds patience) {
  if (memory_is_short()) return;
  {
    std::unique_lock lock(mutex_);
    room_.wait_for(lock, patience, [&] { return stopping_ || held_ < most_pins_; });
    if (stopping_ || held_ >= most_pins_ || !pin.claim()) return;
    ++held_;
    queue_.push_back(std::move(pin));
  }
  work_.notify_one();
}

void PagePusher::stop() {
  std::deque<ChunkCache::Pin> dropped;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    dropped.swap(queue_);
  }
  work_.notify_all();
  room_.notify_all();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

void PagePusher::run() {
  Store to;
  std::unique_lock lock(mutex_);
  while (true) {
    work_.wait(lock, [&] { return stopping_ || !queue_.empty(); });
    if (stopping_) return;
    {
      const ChunkCache::Pin pin = std::move(queue_.front());
      queue_.pop_front();
      lock.unlock();
      if (!to) to = make_store_();
      store(pin, to);
    }
    lock.lock();
    --held_;
    room_.notify_one();
  }
}

bool PagePusher::memory_is_short() {
  const std::int64_t now = boot_ms_now();
  if (now >= look_again_boot_ms_.load(std::memory_order_relaxed)) {
    const auto available = memory_available();
    short_.store(available && *available < kLeastFreeMemory, std::memory_order_relaxed);
    look_again_boot_ms_.store(now + kLookAgainMs, std::memory_order_relaxed);
  }
  return short_.load(std::memory_order_relaxed);
}

void PagePusher::store(const ChunkCache::Pin& pin, const Store& to) {
  static const auto page = static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  const ByteView view = pin.view();
  const std::uint64_t start = pin.offset();
  for (const FilePart& part : tree_.parts_in(start, view.size())) {
    // The kernel takes a page as read only if it gets all of it, or all there is of the file's last one.
    const std::uint64_t file_end = tree_.node(part.inode)->bytes;
    const std::uint64_t from = (part.file_offset + page - 1) / page * page;
    std::uint64_t until = part.file_offset + part.bytes;
    if (until != file_end) until = until / page * page;
    if (from >= until) continue;
    const auto at = static_cast<std::size_t>(part.stream_offset + (from - part.file_offset) - start);
    to(part.inode, from, view.subspan(at, static_cast<std::size_t>(until - from)));
  }
}

}  // namespace tb::deliver
