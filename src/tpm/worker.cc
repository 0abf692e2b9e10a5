#include "tpm/worker.h"

#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>

#include "base/error.h"

namespace tb::tpm {

struct Worker::State {
  std::mutex mutex;
  std::condition_variable_any changed;
  std::function<void()> work;
  std::exception_ptr fault;
  bool done = false;
  bool ended = false;
  bool lost = false;  ///< a caller went away before its answer came
};

Worker::Worker() : state_(std::make_shared<State>()) {
  std::thread([state = state_] {
    std::unique_lock lock(state->mutex);
    while (true) {
      state->changed.wait(lock, [&] { return state->ended || state->work; });
      if (!state->work) return;
      auto work = std::exchange(state->work, nullptr);
      lock.unlock();
      std::exception_ptr fault;
      try {
        work();
      } catch (...) {
        fault = std::current_exception();
      }
      work = nullptr;
      lock.lock();
      state->fault = fault;
      state->done = true;
      state->changed.notify_all();
    }
  }).detach();
}

Worker::~Worker() {
  const std::lock_guard lock(state_->mutex);
  state_->ended = true;
  state_->changed.notify_all();
}

void Worker::run(std::function<void()> work, std::int64_t timeout_ms, const std::stop_token& stop) {
  std::unique_lock lock(state_->mutex);
  if (state_->lost) throw Error("tpm_timeout", "the TPM did not answer before");
  state_->done = false;
  state_->work = std::move(work);
  state_->changed.notify_all();
  const bool done =
      state_->changed.wait_for(lock, stop, std::chrono::milliseconds(timeout_ms), [&] { return state_->done; });
  if (!done) {
    state_->lost = true;
    if (stop.stop_requested()) throw Error("cancelled", "stopped while the TPM was asked");
    throw Error("tpm_timeout", "the TPM does not answer");
  }
  if (state_->fault) std::rethrow_exception(std::exchange(state_->fault, nullptr));
}

}  // namespace tb::tpm
