#include "cli/interrupt.h"

#include <chrono>
#include <condition_variable>
#include <csignal>
#include <mutex>

#include "base/error.h"

namespace tb::cli {
namespace {

std::atomic<bool> g_interrupted = false;
static_assert(std::atomic<bool>::is_always_lock_free);

extern "C" void on_interrupt(int) {
  g_interrupted.store(true, std::memory_order_relaxed);
}

}  // namespace

void watch_interrupts() {
  struct sigaction action{};
  action.sa_handler = on_interrupt;
  action.sa_flags = static_cast<int>(SA_RESETHAND);
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
  struct sigaction ignore{};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, nullptr);
  sigaction(SIGXFSZ, &ignore, nullptr);
}

const std::atomic<bool>& interrupt_flag() {
  return g_interrupted;
}

void throw_if_interrupted() {
  if (g_interrupted.load(std::memory_order_relaxed)) throw Error("cancelled", "interrupted");
}

StopOnInterrupt::StopOnInterrupt()
    : watcher_([this](const std::stop_token& done) {
        constexpr std::chrono::milliseconds kSlice{50};  // a signal's handler cannot notify
        std::mutex mutex;
        std::condition_variable_any woken;
        std::unique_lock lock(mutex);
        while (!done.stop_requested() && !g_interrupted.load()) {
          woken.wait_for(lock, done, kSlice, [] { return false; });
        }
        if (g_interrupted.load()) stop_.request_stop();
      }) {}

}  // namespace tb::cli
