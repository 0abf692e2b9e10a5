// One thread that does one thing after another, and a caller who may stop waiting for it. Not async::Workers: those are
// joined at their end, and this thread may hang in a driver for good.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>

namespace tb::tpm {

class Worker {
 public:
  Worker();
  /// Leaves the thread behind if it hangs; it ends by itself when what it waits for answers.
  ~Worker();
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  /// Runs `work` on the thread and rethrows what it throws. "tpm_timeout" after `timeout_ms`, and for every call after
  /// that; "cancelled" when stopped. `work` must own all it touches: it may still run when this has returned.
  void run(std::function<void()> work, std::int64_t timeout_ms, const std::stop_token& stop);

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace tb::tpm
