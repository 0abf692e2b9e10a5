// Connections to the runtime: made when needed, kept for a moment after a clean exchange, never used again after
// anything else. The one given back last is taken first. A kept connection that the runtime closes, or writes to
// unasked, is dropped: what it says would be taken for the answer to somebody else's request.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "sentinel/config.h"
#include "sentinel/proxy/poller.h"
#include "sentinel/proxy/stream.h"

namespace tb::sentinel::proxy {

/// Who uses a connection to the runtime.
class UpstreamUser {
 public:
  /// It has become ready for something.
  virtual void on_upstream() = 0;

 protected:
  ~UpstreamUser() = default;
};

class UpstreamPool;

class UpstreamLink final : public Watched {
 public:
  UpstreamLink(UpstreamPool& pool, Fd fd, bool connecting, std::uint64_t generation)
      : stream(std::move(fd)), pool_(pool), connecting_(connecting), generation_(generation) {}
  void on_ready(std::uint32_t events) override;
  /// Still waits for the runtime to accept.
  bool is_connecting() const { return connecting_; }

  Stream stream;

 private:
  friend class UpstreamPool;
  UpstreamPool& pool_;
  UpstreamUser* user_ = nullptr;
  bool connecting_;
  std::uint64_t generation_;
  std::int64_t since_boot_ms_ = 0;  ///< where it is kept
};

class UpstreamPool {
 public:
  UpstreamPool(Poller& poller, RuntimeAddress address, std::int64_t idle_ms, std::size_t most)
      : poller_(poller), address_(std::move(address)), idle_ms_(idle_ms), most_(most) {}

  enum class Failure { kNone, kBusy, kUnreachable };
  struct Acquired {
    std::unique_ptr<UpstreamLink> link;
    Failure failure = Failure::kNone;  ///< kBusy: its queue is full, try again in a moment
  };
  /// A kept connection that is still good, else a new one, which may still be connecting.
  Acquired acquire(UpstreamUser& user);
  /// Takes back a connection whose last exchange ended cleanly.
  void keep(std::unique_ptr<UpstreamLink> link);
  /// Closes one that must not be used again.
  void drop(std::unique_ptr<UpstreamLink> link);
  /// Drops what is kept; connections in use are not taken back any more.
  void set_address(RuntimeAddress address);
  void clear();
  std::size_t kept() const { return kept_.size(); }
  std::uint64_t connected() const { return connected_; }

 private:
  friend class UpstreamLink;
  void drop_kept(const UpstreamLink* link);

  Poller& poller_;
  RuntimeAddress address_;
  std::int64_t idle_ms_;
  std::size_t most_;
  std::uint64_t generation_ = 0;
  std::uint64_t connected_ = 0;  ///< connections made, of all time
  std::vector<std::unique_ptr<UpstreamLink>> kept_;
};

}  // namespace tb::sentinel::proxy
