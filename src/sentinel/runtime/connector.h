// How the sentinel reaches a runtime in a network namespace of its own: the runtime's init opens the connection in
// there and hands the socket over. One thread asks, so that no event loop waits. docs/decisions/0040 has the figures.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

#include "base/fs.h"

namespace tb::sentinel::runtime {

class Connector {
 public:
  /// Called once for each connect(), from any thread, possibly before that returns. The socket is a nonblocking stream,
  /// connected or about to be: writable when it is decided, and SO_ERROR says how. Invalid: there is no way to it.
  using Done = std::function<void(Fd)>;

  Connector();
  ~Connector();
  Connector(const Connector&) = delete;
  Connector& operator=(const Connector&) = delete;

  void connect(Done done);
  /// The same for who may wait: at most `timeout_ms`.
  Fd connect_within(std::int64_t timeout_ms);
  /// The control socket of the run that counts from now on; an invalid one for none. Those who wait get nothing.
  void use(Fd control);

 private:
  void serve(const std::stop_token& stop);
  bool is_current(std::uint64_t generation);

  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::deque<Done> waiting_;
  std::uint64_t generation_ = 0;
  std::shared_ptr<Fd> control_;
  std::jthread thread_;
};

}  // namespace tb::sentinel::runtime
