// Opened chunks in memory, each opened once however many want it, in a bounded number of slots.
//
// Nobody who asks is kept waiting on his own thread: a chunk that is here is handed out pinned, for one that is not the
// caller leaves a function, which a loader thread calls when the chunk is open. Loaders block in the ChunkSource (disk,
// network, AES), so opening runs on other cores than answering.
//
// Memory: kSlotMemory of slots, but never fewer than kFewestSlots, so that one can be read while another is opened.
// With chunks of 4 MiB that is 12 slots, 48 MiB; with chunks of 64 MiB, the largest of the format, 3 slots and 192 MiB.
//
// What a slot held before is gone when it is reused: the next chunk overwrites it, what the next one is shorter by is
// wiped, a chunk that does not verify leaves zeros, and cancel() and the end wipe all.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <thread>
#include <unordered_map>
#include <vector>

#include "asset/chunk_source.h"
#include "base/secret.h"

namespace tb::deliver {

class ChunkCache {
  struct Slot;
  struct Entry;

 public:
  static constexpr std::size_t kSlotMemory = std::size_t{48} << 20;
  static constexpr std::size_t kFewestSlots = 3;
  /// Tiny chunks: more slots than this are no use and cost a mapping each.
  static constexpr std::size_t kMostSlots = 1024;

  /// A chunk that stays where it is as long as this lives. Pins are short: the time of an answer.
  class Pin {
   public:
    Pin(Pin&& other) noexcept : cache_(other.cache_), entry_(std::exchange(other.entry_, nullptr)) {}
    Pin& operator=(Pin&& other) noexcept {
      std::swap(cache_, other.cache_);
      std::swap(entry_, other.entry_);
      return *this;
    }
    ~Pin() {
      if (entry_ != nullptr) cache_->unpin(*entry_);
    }
    std::uint64_t index() const;
    /// Of the chunk's first byte, in plaintext.
    std::uint64_t offset() const;
    ByteView view() const;
    /// True for the first who asks since the chunk was opened: what is done once with an opened chunk (page_push.h) is
    /// his to do.
    bool claim() const;

   private:
    friend class ChunkCache;
    Pin(ChunkCache& cache, Entry& entry) : cache_(&cache), entry_(&entry) {}
    ChunkCache* cache_;
    Entry* entry_;
  };
  /// Called once, on a loader thread (or by cancel()'s), without a lock held. Must not block on another chunk.
  using Waiter = std::move_only_function<void(Result<Pin>)>;

  /// Fewer slots than memory would allow: `most_slots`, but kFewestSlots at least.
  ChunkCache(std::shared_ptr<asset::ChunkSource> source, unsigned loaders, std::size_t most_slots = kMostSlots);
  /// cancel(), then waits for the loaders: for as long as the source takes to heed its stop token.
  ~ChunkCache();
  ChunkCache(const ChunkCache&) = delete;
  ChunkCache& operator=(const ChunkCache&) = delete;

  const tbenc::Layout& layout() const { return layout_; }
  std::size_t slot_count() const { return slot_count_; }

  /// The chunk, if it is here.
  std::optional<Pin> find(std::uint64_t index);
  /// The chunk if it is here; else nothing, and `waiter` has been taken and will be called. After cancel():
  /// "cancelled", and `waiter` is not called. index < layout().chunk_count().
  Result<std::optional<Pin>> fetch(std::uint64_t index, Waiter& waiter);
  /// Opens the chunk soon, after those that somebody waits for, if slots allow.
  void load_ahead(std::uint64_t index);
  /// A slot for a chunk that is about to be opened elsewhere, into it: nobody sees it before put() is given these very
  /// bytes; leave() gives it back. Empty where the chunk is here or being opened, or no slot is free at once.
  MutableBytes reserve(std::uint64_t index);
  void leave(std::uint64_t index);
  /// A chunk that was opened elsewhere takes a slot, if one and the memory for it are free at once, and is given to
  /// those who wait for it.
  void put(std::uint64_t index, ByteView plain);

  /// Stops loading, answers all who wait with "cancelled", wipes every slot that is not pinned or being filled (those
  /// are wiped when they are let go). Does not wait for a source that blocks. Any thread.
  void cancel();

 private:
  enum class State { kWanted, kLoading, kReady };
  struct Slot {
    WipedBuffer buffer;
    std::size_t used = 0;  ///< bytes that may hold plaintext
  };
  struct Entry {
    std::uint64_t index = 0;
    State state = State::kWanted;
    bool ahead = false;  ///< nobody waits for it
    bool claimed = false;
    unsigned pins = 0;
    std::unique_ptr<Slot> slot{};
    std::vector<Waiter> waiters{};
    std::list<Entry*>::iterator idle{};  ///< in idle_, while kReady and not pinned
  };

  Pin pin(Entry& entry);
  void unpin(Entry& entry);
  bool slot_to_be_had() const;
  /// One of those to be had; nullptr if there is no memory.
  std::unique_ptr<Slot> take_slot();
  /// nullptr if none is reserved for the chunk, or other bytes than `bytes` (nullptr: any).
  std::unique_ptr<Slot> take_reserved(std::uint64_t index, const std::uint8_t* bytes);
  /// A slot can be had: whoever waits for one is woken.
  void slot_came();
  void give_slot(std::unique_ptr<Slot> slot);
  Entry* next_wanted();
  std::vector<Pin> publish(Entry& entry, std::unique_ptr<Slot> slot, std::vector<Waiter>& waiters);
  void load_chunks();
  void load_one(std::unique_lock<std::mutex>& lock, Entry& entry);

  std::shared_ptr<asset::ChunkSource> source_;
  tbenc::Layout layout_;
  std::size_t slot_count_;
  std::stop_source stop_;
  std::mutex mutex_;
  std::condition_variable work_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Entry>> entries_;
  std::deque<std::uint64_t> wanted_, ahead_;  ///< in order; what is no longer kWanted is passed over
  std::list<Entry*> idle_;                    ///< ready and not pinned, least lately used first
  std::vector<std::unique_ptr<Slot>> free_;
  std::unordered_map<std::uint64_t, std::unique_ptr<Slot>> reserved_;  ///< of entries in kLoading
  std::size_t slots_made_ = 0;
  bool cancelled_ = false;
  std::vector<std::thread> loaders_;
};

}  // namespace tb::deliver
