#include "hydrate/chunk_table.h"

#include <algorithm>
#include <vector>

namespace tb::hydrate {

std::optional<Range> ChunkTable::next_range(std::stop_token stop) {
  std::unique_lock lock(mutex_);
  std::optional<Range> range;
  changed_.wait(lock, stop, [&] { return plan_.complete() || (range = plan_.next()).has_value(); });
  return range;
}

ChunkTable::Answer ChunkTable::claim_or_wait(std::uint64_t chunk, MutableBytes plain, std::stop_token stop) {
  using enum Waiter::State;
  std::unique_lock lock(mutex_);
  if (plan_.claim(chunk)) {
    plan_.focus(chunk + 1);
    return Answer::kMine;
  }
  Waiter self{chunk, plain};
  const auto place = waiters_.insert(waiters_.end(), &self);
  const auto settled = [&] { return self.state == kFilled || self.state == kRetry; };
  changed_.wait(lock, stop, settled);
  // Somebody is writing to `plain`: it cannot be left now.
  if (self.state == kFilling) changed_.wait(lock, settled);
  waiters_.erase(place);
  if (self.state == kFilled) return Answer::kFilled;
  return self.state == kRetry ? Answer::kRetry : Answer::kStopped;
}

bool ChunkTable::finished(std::uint64_t chunk, ByteView plain) {
  using enum Waiter::State;
  std::vector<Waiter*> filling;
  bool first;
  {
    const std::lock_guard lock(mutex_);
    first = plan_.done(chunk);
    for (Waiter* waiter : waiters_) {
      if (waiter->chunk != chunk || waiter->state != kWaiting) continue;
      if (waiter->plain.size() == plain.size()) {
        waiter->state = kFilling;
        filling.push_back(waiter);
      } else {
        waiter->state = kRetry;
      }
    }
  }
  for (Waiter* waiter : filling) std::ranges::copy(plain, waiter->plain.begin());
  {
    const std::lock_guard lock(mutex_);
    for (Waiter* waiter : filling) waiter->state = kFilled;
  }
  changed_.notify_all();
  return first;
}

void ChunkTable::abandoned(std::uint64_t chunk) {
  {
    const std::lock_guard lock(mutex_);
    plan_.give_back(chunk);
    for (Waiter* waiter : waiters_) {
      if (waiter->chunk == chunk && waiter->state == Waiter::State::kWaiting) waiter->state = Waiter::State::kRetry;
    }
  }
  changed_.notify_all();
}

bool ChunkTable::wait_done(std::uint64_t chunk, std::stop_token stop) const {
  std::unique_lock lock(mutex_);
  return changed_.wait(lock, stop, [&] { return plan_.is_done(chunk); });
}

bool ChunkTable::complete() const {
  const std::lock_guard lock(mutex_);
  return plan_.complete();
}

}  // namespace tb::hydrate
