// The bounded pool for everything that blocks or computes: handlers, crypto, disk, SQL. The queue's bound is the
// back-pressure: try_submit refuses at the bound, submit waits.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

#include "async/loop.h"

namespace tb::async {

class Workers {
 public:
  using Job = std::move_only_function<void()>;

  /// `threads` ≥ 1 run jobs; at most `queue` ≥ 1 jobs wait beside those that run. An exception that leaves a job goes
  /// to `on_fault` (dropped if that is empty); the thread lives on.
  Workers(std::string name, std::size_t threads, std::size_t queue, FaultHandler on_fault = {});
  /// stop()
  ~Workers();
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  /// False, and `job` untouched, if the queue is full or stop() has begun.
  [[nodiscard]] bool try_submit(Job&& job);
  /// Waits for room. False if stop() has begun. Never call it from a job of the same pool.
  [[nodiscard]] bool submit(Job job);
  /// Takes no more jobs, runs those that wait, joins. Idempotent; not from a job.
  void stop();

  std::size_t threads() const;
  /// Jobs that wait now.
  std::size_t waiting() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tb::async
