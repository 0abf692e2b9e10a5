// Keeps the runtime running while the model may be used: starts it, forwards what it prints to the log, starts it again
// with growing pauses when it ends by itself, and ends it, whole process group, when told to.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "obs/log.h"
#include "sentinel/runtime/child.h"
#include "sentinel/runtime/connector.h"
#include "sentinel/runtime/output_budget.h"

namespace tb::sentinel::runtime {

struct SupervisorOptions {
  std::int64_t end_grace_ms = 5'000;  ///< between SIGTERM and SIGKILL
  std::int64_t first_pause_ms = 500;  ///< before the first restart; doubles up to max_pause_ms
  std::int64_t max_pause_ms = 30'000;
  std::int64_t steady_ms = 60'000;                ///< a run this long makes the next pause the first again
  std::uint64_t output_burst_bytes = 1 << 20;     ///< of what it prints that reach the log: enough for a start,
  std::uint64_t output_bytes_per_second = 4'096;  ///< too little to carry a model away
};

struct RuntimeView {
  bool supervised = false;
  bool running = false;
  std::uint64_t restarts = 0;
  std::string last_end;  ///< "exit 1", "signal 11"; empty if it never ended by itself
};

class Supervisor {
 public:
  explicit Supervisor(obs::Log log, SupervisorOptions options = {});
  /// stop()
  ~Supervisor();
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  /// Starts the runtime and its watch. Throws "runtime_failed" if the program cannot be executed at all.
  void start(ChildSpec spec);
  /// Ends the runtime; returns when its whole group is gone. Idempotent.
  void stop();
  RuntimeView view() const;
  /// To the run of the moment, if it is confined; null before the first confined start.
  std::shared_ptr<Connector> connector() const;
  /// Grows with every start: tells an answer of this run from one of the run before.
  std::uint64_t generation() const;

 private:
  void watch(const std::stop_token& stop);
  void forward_output(Child& child, std::string& partial);
  void forward_line(std::string_view line);
  std::unique_ptr<Child> start_child();

  obs::Log log_;
  SupervisorOptions options_;
  OutputBudget output_;  ///< of all runs: a runtime that ends on purpose gets no new one
  ChildSpec spec_;
  mutable std::mutex mutex_;
  std::shared_ptr<Connector> connector_;
  std::unique_ptr<Child> child_;
  RuntimeView view_;
  std::uint64_t generation_ = 0;
  std::jthread watch_;
};

}  // namespace tb::sentinel::runtime
