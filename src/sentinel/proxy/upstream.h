// Connections to the runtime: made when needed, kept for a moment after a clean exchange, never used again after
// anything else. The one given back last is taken first. A kept connection that the runtime closes, or writes to
// unasked, is dropped: what it says would be taken for the answer to somebody else's request.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "sentinel/config.h"
#include "sentinel/proxy/poller.h"
#include "sentinel/proxy/stream.h"
#include "sentinel/runtime/connector.h"

namespace tb::sentinel::proxy {

class UpstreamLink;

/// Who uses a connection to the runtime.
class UpstreamUser {
 public:
  /// It has become ready for something.
  virtual void on_upstream() = 0;
  /// The one that was waited for; nothing if it cannot be had.
  virtual void on_connection(std::unique_ptr<UpstreamLink> link) = 0;

 protected:
  ~UpstreamUser() = default;
};

class UpstreamPool;

class UpstreamLink final : public Watched {
 public:
  UpstreamLink(UpstreamPool& pool, Fd fd, bool connecting, std::uint64_t generation)
      : stream(std::move(fd)), pool_(pool), connecting_(connecting), generation_(generation) {}
  void note(std::uint32_t events) override { stream.note(events); }
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
  ~UpstreamPool();
  UpstreamPool(const UpstreamPool&) = delete;
  UpstreamPool& operator=(const UpstreamPool&) = delete;

  enum class Failure {
    kNone,
    kBusy,      ///< its queue is full: try again in a moment
    kOnItsWay,  ///< on_connection() will be called, unless forget() is
    kUnreachable
  };
  struct Acquired {
    std::unique_ptr<UpstreamLink> link;
    Failure failure = Failure::kNone;
  };
  /// A kept connection that is still good, else a new one, which may still be connecting.
  Acquired acquire(UpstreamUser& user);
  /// Takes back a connection whose last exchange ended cleanly.
  void keep(std::unique_ptr<UpstreamLink> link);
  /// Closes one that must not be used again.
  void drop(std::unique_ptr<UpstreamLink> link);
  /// Who waits for a connection does so no more.
  void forget(const UpstreamUser& user);
  /// Drops what is kept; connections in use are not taken back any more. `connector` opens new ones to a runtime that
  /// is not reached from here; null: they are opened here.
  void set_address(RuntimeAddress address, std::shared_ptr<runtime::Connector> connector = nullptr);
  void clear();
  std::size_t kept() const { return kept_.size(); }
  std::uint64_t connected() const { return connected_; }

 private:
  friend class UpstreamLink;
  /// The way back from the connector's thread, closed when the pool ends.
  struct Arrivals {
    std::mutex mutex;
    UpstreamPool* pool = nullptr;
  };
  void drop_kept(const UpstreamLink* link);
  void ask_connector(UpstreamUser& user);
  void arrived(Fd fd, std::uint64_t generation);
  std::unique_ptr<UpstreamLink> adopt(Fd fd, bool connecting);

  Poller& poller_;
  RuntimeAddress address_;
  std::int64_t idle_ms_;
  std::size_t most_;
  std::uint64_t generation_ = 0;
  std::uint64_t connected_ = 0;  ///< connections made, of all time
  std::vector<std::unique_ptr<UpstreamLink>> kept_;
  std::shared_ptr<runtime::Connector> connector_;
  std::vector<UpstreamUser*> waiting_;  ///< for a connection of the connector's, in order
  std::shared_ptr<Arrivals> arrivals_ = std::make_shared<Arrivals>();
};

}  // namespace tb::sentinel::proxy
