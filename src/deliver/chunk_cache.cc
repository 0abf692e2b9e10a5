#include "deliver/chunk_cache.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>

namespace tb::deliver {
namespace {

std::size_t slots_for(std::uint32_t chunk_bytes, std::size_t most) {
  return std::max(ChunkCache::kFewestSlots, std::min<std::size_t>(ChunkCache::kSlotMemory / chunk_bytes, most));
}

Error cancelled() {
  return {"cancelled", "reading was stopped"};
}

}  // namespace

std::uint64_t ChunkCache::Pin::index() const {
  return entry_->index;
}

std::uint64_t ChunkCache::Pin::offset() const {
  return cache_->layout_.plain_offset(entry_->index);
}

ByteView ChunkCache::Pin::view() const {
  return entry_->slot->buffer.view().first(entry_->slot->used);
}

bool ChunkCache::Pin::claim() const {
  const std::lock_guard lock(cache_->mutex_);
  return !std::exchange(entry_->claimed, true);
}

ChunkCache::ChunkCache(std::shared_ptr<asset::ChunkSource> source, unsigned loaders, std::size_t most_slots)
    : source_(std::move(source)),
      layout_(source_->layout()),
      slot_count_(slots_for(layout_.chunk_bytes(), std::min(most_slots, kMostSlots))) {
  for (unsigned i = 0; i < std::max(1U, loaders); ++i) loaders_.emplace_back([this] { load_chunks(); });
}

ChunkCache::~ChunkCache() {
  cancel();
  for (std::thread& loader : loaders_) loader.join();
}

ChunkCache::Pin ChunkCache::pin(Entry& entry) {
  if (entry.pins++ == 0) idle_.erase(entry.idle);
  return {*this, entry};
}

void ChunkCache::unpin(Entry& entry) {
  const std::lock_guard lock(mutex_);
  if (--entry.pins != 0) return;
  if (cancelled_) {
    give_slot(std::move(entry.slot));
    const std::uint64_t index = entry.index;
    entries_.erase(index);
    return;
  }
  entry.idle = idle_.insert(idle_.end(), &entry);
  slot_came();
}

std::optional<ChunkCache::Pin> ChunkCache::find(std::uint64_t index) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(index);
  if (cancelled_ || found == entries_.end() || found->second->state != State::kReady) return std::nullopt;
  return pin(*found->second);
}

Result<std::optional<ChunkCache::Pin>> ChunkCache::fetch(std::uint64_t index, Waiter& waiter) {
  const std::lock_guard lock(mutex_);
  if (cancelled_) return fail(cancelled());
  auto& entry = entries_[index];
  if (entry && entry->state == State::kReady) return pin(*entry);
  if (!entry) entry = std::make_unique<Entry>(Entry{.index = index, .ahead = true});
  if (entry->state == State::kWanted && entry->ahead) {
    std::erase(ahead_, index);
    wanted_.push_back(index);
    work_.notify_one();
  }
  entry->ahead = false;
  entry->waiters.push_back(std::move(waiter));
  return std::nullopt;
}

void ChunkCache::load_ahead(std::uint64_t index) {
  const std::lock_guard lock(mutex_);
  if (cancelled_ || index >= layout_.chunk_count() || entries_.contains(index)) return;
  // More would push out chunks that are being read.
  if (ahead_.size() >= std::max<std::size_t>(1, slot_count_ / 4)) return;
  entries_.emplace(index, std::make_unique<Entry>(Entry{.index = index, .ahead = true}));
  ahead_.push_back(index);
  work_.notify_one();
}

bool ChunkCache::slot_to_be_had() const {
  return !free_.empty() || slots_made_ < slot_count_ || !idle_.empty();
}

std::unique_ptr<ChunkCache::Slot> ChunkCache::take_slot() {
  std::unique_ptr<Slot> slot;
  if (!free_.empty()) {
    slot = std::move(free_.back());
    free_.pop_back();
  } else if (slots_made_ < slot_count_) {
    try {
      slot = std::make_unique<Slot>();
      slot->buffer = WipedBuffer(
          static_cast<std::size_t>(std::min<std::uint64_t>(layout_.chunk_bytes(), layout_.plaintext_bytes())));
    } catch (const std::bad_alloc&) {
      return nullptr;
    }
    // Kept off a swap device as far as RLIMIT_MEMLOCK goes; without swap it changes nothing.
    (void)mlock2(slot->buffer.data(), slot->buffer.size(), MLOCK_ONFAULT);
    ++slots_made_;
  } else {
    Entry& oldest = *idle_.front();
    idle_.pop_front();
    slot = std::move(oldest.slot);
    const std::uint64_t index = oldest.index;
    entries_.erase(index);
  }
  return slot;
}

void ChunkCache::slot_came() {
  if (!wanted_.empty() || !ahead_.empty()) work_.notify_one();
}

void ChunkCache::give_slot(std::unique_ptr<Slot> slot) {
  if (cancelled_) {
    wipe(slot->buffer.data(), slot->used);
    slot->used = 0;
  }
  free_.push_back(std::move(slot));
}

ChunkCache::Entry* ChunkCache::next_wanted() {
  for (std::deque<std::uint64_t>* queue : {&wanted_, &ahead_}) {
    while (!queue->empty()) {
      const auto found = entries_.find(queue->front());
      if (found != entries_.end() && found->second->state == State::kWanted) {
        if (!slot_to_be_had()) return nullptr;
        queue->pop_front();
        return found->second.get();
      }
      queue->pop_front();
    }
  }
  return nullptr;
}

std::vector<ChunkCache::Pin> ChunkCache::publish(Entry& entry, std::unique_ptr<Slot> slot,
                                                 std::vector<Waiter>& waiters) {
  entry.slot = std::move(slot);
  entry.state = State::kReady;
  entry.idle = idle_.insert(idle_.end(), &entry);
  waiters = std::exchange(entry.waiters, {});
  std::vector<Pin> pins;
  pins.reserve(waiters.size());
  for (std::size_t i = 0; i < waiters.size(); ++i) pins.push_back(pin(entry));
  return pins;
}

void ChunkCache::load_chunks() {
  std::unique_lock lock(mutex_);
  while (true) {
    Entry* entry = nullptr;
    work_.wait(lock, [&] { return cancelled_ || (entry = next_wanted()) != nullptr; });
    if (cancelled_) return;
    load_one(lock, *entry);
  }
}

void ChunkCache::load_one(std::unique_lock<std::mutex>& lock, Entry& entry) {
  const std::uint64_t index = entry.index;
  const auto bytes = static_cast<std::size_t>(layout_.chunk_plain_bytes(index));
  entry.state = State::kLoading;
  Result<> opened = fail("out_of_memory", "there is no memory for a chunk");
  std::unique_ptr<Slot> slot = take_slot();
  lock.unlock();
  if (slot) {
    opened = source_->open_chunk(index, slot->buffer.span().first(bytes), stop_.get_token());
    if (slot->used > bytes) wipe(slot->buffer.data() + bytes, slot->used - bytes);
    slot->used = opened ? bytes : 0;
  }
  lock.lock();

  // cancel() has answered the waiters and forgotten the entry.
  if (cancelled_) {
    if (slot) give_slot(std::move(slot));
    return;
  }
  std::vector<Waiter> waiters;
  std::vector<Pin> pins;
  if (opened) {
    pins = publish(entry, std::move(slot), waiters);
  } else {
    waiters = std::move(entry.waiters);
    entries_.erase(index);
    if (slot) give_slot(std::move(slot));
  }
  slot_came();
  lock.unlock();
  for (std::size_t i = 0; i < waiters.size(); ++i) {
    if (opened) {
      waiters[i](std::move(pins[i]));
    } else {
      waiters[i](std::unexpected(opened.error()));
    }
  }
  waiters.clear();
  pins.clear();
  lock.lock();
}

MutableBytes ChunkCache::reserve(std::uint64_t index) {
  const std::lock_guard lock(mutex_);
  if (cancelled_ || index >= layout_.chunk_count() || reserved_.size() >= slot_count_ / 3) return {};
  if (const auto found = entries_.find(index); found != entries_.end() && found->second->state != State::kWanted) {
    return {};
  }
  if (!slot_to_be_had()) return {};
  auto slot = take_slot();
  if (!slot) return {};
  auto& entry = entries_[index];
  if (!entry) entry = std::make_unique<Entry>(Entry{.index = index});
  entry->state = State::kLoading;
  const auto bytes = static_cast<std::size_t>(layout_.chunk_plain_bytes(index));
  if (slot->used > bytes) wipe(slot->buffer.data() + bytes, slot->used - bytes);
  slot->used = bytes;
  return (reserved_[index] = std::move(slot))->buffer.span().first(bytes);
}

std::unique_ptr<ChunkCache::Slot> ChunkCache::take_reserved(std::uint64_t index, const std::uint8_t* bytes) {
  const auto found = reserved_.find(index);
  if (found == reserved_.end() || (bytes != nullptr && found->second->buffer.data() != bytes)) return nullptr;
  auto slot = std::move(found->second);
  reserved_.erase(found);
  return slot;
}

void ChunkCache::leave(std::uint64_t index) {
  const std::lock_guard lock(mutex_);
  auto slot = take_reserved(index, nullptr);
  if (!slot) return;
  give_slot(std::move(slot));
  if (cancelled_) return;
  const auto found = entries_.find(index);
  if (found->second->waiters.empty()) {
    entries_.erase(found);
  } else {
    found->second->state = State::kWanted;
    wanted_.push_back(index);
  }
  slot_came();
}

void ChunkCache::put(std::uint64_t index, ByteView plain) {
  std::vector<Waiter> waiters;
  std::vector<Pin> pins;
  {
    std::unique_lock lock(mutex_);
    auto slot = take_reserved(index, plain.data());
    if (!slot) {
      if (cancelled_ || index >= layout_.chunk_count() || plain.size() != layout_.chunk_plain_bytes(index)) return;
      // Somebody else's opening is as good, and a slot that is in use is worth more than one that may be.
      if (const auto found = entries_.find(index); found != entries_.end() && found->second->state != State::kWanted) {
        return;
      }
      if (!slot_to_be_had()) return;
      slot = take_slot();
      if (!slot) return;
      auto& entry = entries_[index];
      if (!entry) entry = std::make_unique<Entry>(Entry{.index = index});
      entry->state = State::kLoading;
      lock.unlock();
      std::memcpy(slot->buffer.data(), plain.data(), plain.size());
      if (slot->used > plain.size()) wipe(slot->buffer.data() + plain.size(), slot->used - plain.size());
      slot->used = plain.size();
      lock.lock();
    }
    if (cancelled_) return give_slot(std::move(slot));
    pins = publish(*entries_.at(index), std::move(slot), waiters);
    // Whoever waits for a slot may have looked while this one was neither free nor idle.
    slot_came();
  }
  for (std::size_t i = 0; i < waiters.size(); ++i) waiters[i](std::move(pins[i]));
}

void ChunkCache::cancel() {
  std::vector<Waiter> waiters;
  {
    const std::lock_guard lock(mutex_);
    if (cancelled_) return;
    cancelled_ = true;
    stop_.request_stop();
    for (auto at = entries_.begin(); at != entries_.end();) {
      Entry& entry = *at->second;
      std::ranges::move(entry.waiters, std::back_inserter(waiters));
      entry.waiters.clear();
      if (entry.state == State::kReady && entry.pins != 0) {
        ++at;
        continue;
      }
      if (entry.slot) give_slot(std::move(entry.slot));
      at = entries_.erase(at);
    }
    idle_.clear();
    for (const auto& slot : free_) {
      wipe(slot->buffer.data(), slot->used);
      slot->used = 0;
    }
  }
  work_.notify_all();
  for (Waiter& waiter : waiters) waiter(std::unexpected(cancelled()));
}

}  // namespace tb::deliver
