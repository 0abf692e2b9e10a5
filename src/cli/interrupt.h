// SIGINT and SIGTERM as a flag that long work asks for, so that partial output is removed by ordinary unwinding. A
// second signal ends the process at once, should the work hang in a read.
#pragma once

#include <atomic>
#include <stop_token>
#include <thread>

namespace tb::cli {

/// Installs the handlers. SIGPIPE and SIGXFSZ are ignored: a closed pipe and a file limit are errors like any other.
void watch_interrupts();
/// True after an interrupt: tbenc's `cancel`.
const std::atomic<bool>& interrupt_flag();
/// Throws "cancelled" after an interrupt.
void throw_if_interrupted();

/// Turns an interrupt into a stop of what waits for the network meanwhile.
class StopOnInterrupt {
 public:
  StopOnInterrupt();
  std::stop_token token() const { return stop_.get_token(); }

 private:
  std::stop_source stop_;
  std::jthread watcher_;
};

}  // namespace tb::cli
