// The proxy's event loop: one epoll set, one thread. A descriptor is added once, edge-triggered for both directions,
// and never changed: in the steady state a request costs no epoll_ctl. Who is called keeps in mind that its socket may
// be read or written, and goes on until the kernel says that it would wait.
//
// An object that ends while a round of events is under way may still stand in that round: it is handed to retire() and
// destroyed after it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

#include "base/fs.h"
#include "sentinel/proxy/stream.h"

namespace tb::sentinel::proxy {

class Watched {
 public:
  Watched() = default;
  Watched(const Watched&) = delete;
  Watched& operator=(const Watched&) = delete;
  virtual ~Watched() = default;
  /// Told of all that is ready before anybody is called: who uses another's connection then knows how it stands.
  virtual void note(std::uint32_t /*events*/) {}
  /// `events` as of epoll(7).
  virtual void on_ready(std::uint32_t events) = 0;
};

class Poller {
 public:
  /// Throws what the kernel says.
  Poller();

  /// Edge-triggered, both directions, until the stream is closed. False if the kernel has no room.
  bool watch(Stream& stream, Watched& watched) { return stream.watch(epoll_.get(), &watched); }
  /// Level-triggered, for reading: listeners.
  bool watch_listener(int fd, Watched& watched);
  void forget(int fd);

  /// Waits `ms` at most (negative: for ever), calls on_ready() of what is ready, then what was posted, then destroys
  /// what was retired.
  void round(std::int64_t ms);
  /// Runs `job` on the loop's thread in its next round. Any thread.
  void post(std::function<void()> job);
  void retire(std::unique_ptr<Watched> watched) { retired_.push_back(std::move(watched)); }
  /// How much was ready at once in the round under way; 0 between rounds.
  std::size_t crowd() const { return crowd_; }
  /// Boot clock at the start of this round.
  std::int64_t now_ms() const { return now_ms_; }

 private:
  void take_time();

  Fd epoll_, wake_;
  std::int64_t now_ms_ = 0;
  std::size_t crowd_ = 0;
  std::vector<std::unique_ptr<Watched>> retired_;
  std::mutex mutex_;
  std::vector<std::function<void()>> posted_;
};

}  // namespace tb::sentinel::proxy
