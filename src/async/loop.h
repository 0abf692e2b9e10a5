// An event loop: one Asio io_context run by one thread of its own. Sockets belong to one loop for life, so what runs on
// it needs no locks; nothing on it may block (disk, SQL, crypto of files: that is what Workers is for).
#pragma once

#include <functional>
#include <memory>
#include <string>

namespace boost::asio {
class io_context;
}

namespace tb::async {

/// What to call with an exception that escaped a loop callback or a job. It must not throw.
using FaultHandler = std::function<void(std::exception_ptr)>;

class Loop {
 public:
  /// Starts the thread, named `name` (15 characters show in ps). `on_fault` may be empty: then faults are dropped.
  explicit Loop(std::string name, FaultHandler on_fault = {});
  /// stop()
  ~Loop();
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;

  boost::asio::io_context& io();
  /// Runs `job` on the loop's thread, later. Safe from any thread. After stop() the job is dropped.
  void post(std::function<void()> job);
  /// True on the loop's own thread.
  bool is_current() const;
  /// Lets what is pending finish, then joins. Returns only when no work is left: cancel sockets and timers before.
  void drain();
  /// Abandons what is pending and joins. Idempotent; not from the loop's own thread.
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tb::async
