#include "async/stop.h"

#include <condition_variable>
#include <mutex>

namespace tb::async {

bool sleep_unless_stopped(const std::stop_token& stop, std::chrono::milliseconds time) {
  std::mutex mutex;
  std::condition_variable_any woken;
  std::unique_lock lock(mutex);
  return !woken.wait_for(lock, stop, time, [&] { return stop.stop_requested(); });
}

}  // namespace tb::async
