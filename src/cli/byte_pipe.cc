#include "cli/byte_pipe.h"

#include <algorithm>

namespace tb::cli {
namespace {

/// As much at a time as the other side may wait for.
constexpr std::size_t kPieceBytes = std::size_t{256} << 10;

}  // namespace

// What lies between the two ends belongs to one side at a time, so it is copied without the lock.

void BytePipe::write(ByteView bytes) {
  std::unique_lock lock(mutex_);
  while (!bytes.empty()) {
    changed_.wait(lock, [&] { return refused_ || held_ < ring_.size(); });
    if (refused_) throw Error(*refused_);
    const std::size_t to = (first_ + held_) % ring_.size();
    const std::size_t n = std::min({bytes.size(), kPieceBytes, ring_.size() - held_, ring_.size() - to});
    lock.unlock();
    std::copy_n(bytes.begin(), n, ring_.begin() + static_cast<std::ptrdiff_t>(to));
    lock.lock();
    held_ += n;
    bytes = bytes.subspan(n);
    changed_.notify_all();
  }
}

void BytePipe::read(MutableBytes out) {
  std::unique_lock lock(mutex_);
  while (!out.empty()) {
    changed_.wait(lock, [&] { return broken_off_ || held_ > 0; });
    if (held_ == 0) throw Error("cancelled", "what was to be sent does not come");
    const std::size_t from = first_;
    const std::size_t n = std::min({out.size(), held_, ring_.size() - from});
    lock.unlock();
    std::copy_n(ring_.begin() + static_cast<std::ptrdiff_t>(from), n, out.begin());
    lock.lock();
    first_ = (from + n) % ring_.size();
    held_ -= n;
    out = out.subspan(n);
    changed_.notify_all();
  }
}

void BytePipe::refuse(Error why) {
  const std::lock_guard lock(mutex_);
  if (!refused_) refused_ = std::move(why);
  changed_.notify_all();
}

void BytePipe::break_off() {
  const std::lock_guard lock(mutex_);
  broken_off_ = true;
  changed_.notify_all();
}

}  // namespace tb::cli
