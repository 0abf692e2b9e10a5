#include "cli/byte_pipe.h"

#include <algorithm>

namespace tb::cli {

void BytePipe::write(ByteView bytes) {
  std::unique_lock lock(mutex_);
  while (!bytes.empty()) {
    changed_.wait(lock, [&] { return refused_ || held_ < ring_.size(); });
    if (refused_) throw Error(*refused_);
    const std::size_t to = (first_ + held_) % ring_.size();
    const std::size_t n = std::min({bytes.size(), ring_.size() - held_, ring_.size() - to});
    std::copy_n(bytes.begin(), n, ring_.begin() + static_cast<std::ptrdiff_t>(to));
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
    const std::size_t n = std::min({out.size(), held_, ring_.size() - first_});
    std::copy_n(ring_.begin() + static_cast<std::ptrdiff_t>(first_), n, out.begin());
    first_ = (first_ + n) % ring_.size();
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
