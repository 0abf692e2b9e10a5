// Pushes opened chunks into the kernel's page cache, so that small reads here and there open each chunk once and not
// once for every 4 KiB.
//
// On threads of its own, which nobody's answer waits for: storing pages waits for the locks that the kernel holds on
// pages of reads not answered yet. A push is a favour: what cannot be done at once, or would take the last of the
// memory, is left. The pages are the kernel's, clean, and count as the page cache of this program's cgroup.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "deliver/chunk_cache.h"
#include "deliver/mount_tree.h"

namespace tb::deliver {

class PagePusher {
 public:
  /// Left free for others.
  static constexpr std::uint64_t kLeastFreeMemory = std::uint64_t{512} << 20;

  /// Stores bytes of a file at an offset. Called on the pusher's threads, several at a time.
  using Store = std::function<void(Inode inode, std::uint64_t offset, ByteView bytes)>;

  /// Called once on each of these threads, when there is something to be stored. What it gives may take the thread's
  /// descriptors away: nothing else is opened there.
  using MakeStore = std::function<Store()>;

  /// `tree` outlives it. Holds at most `most_pins` chunks, and stores as many at once as `threads`.
  PagePusher(const MountTree& tree, std::size_t most_pins, unsigned threads, MakeStore make_store);
  ~PagePusher() { stop(); }

  /// Queues the whole pages of files in this chunk, unless somebody did so since it was opened. Waits for a place in
  /// the queue at most `patience`: who waits longer may be what the kernel's locks wait for.
  void push(ChunkCache::Pin pin, std::chrono::milliseconds patience = std::chrono::milliseconds(0));
  /// What is queued is dropped; returns when nothing is being stored any more.
  void stop();

 private:
  void run();
  bool memory_is_short();
  void store(const ChunkCache::Pin& pin, const Store& to);

  const MountTree& tree_;
  std::size_t most_pins_;
  MakeStore make_store_;
  std::mutex mutex_;
  std::condition_variable work_, room_;
  std::deque<ChunkCache::Pin> queue_;
  std::size_t held_ = 0;  ///< queued or being stored
  std::atomic<std::int64_t> look_again_boot_ms_ = 0;
  std::atomic<bool> short_ = false;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace tb::deliver
