// One run of the runtime, which never outlives the sentinel: confined as isolation.h plans it, or else a process group
// of its own.
//
// In both: own session, no new privileges, no core dumps, the runtime's user where we are root, SIGKILL when the
// sentinel dies, standard input from memory or /dev/null and output into a pipe, every other descriptor closed. Its end
// is the end of all that it has started, which must not go on reading the model: of the whole process namespace, or of
// the group, which a process can leave.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/fs.h"
#include "base/secret.h"
#include "sentinel/runtime/isolation.h"
#include "sentinel/runtime/resource_group.h"

namespace tb::sentinel::runtime {

struct ChildSpec {
  std::vector<std::string> arguments;                   ///< the program first, looked up in PATH
  std::vector<std::string> environment;                 ///< NAME=value
  uid_t uid = 0;                                        ///< taken on where we are root and it is not 0
  std::string input = {};                               ///< its standard input; empty: /dev/null
  bool errors_apart = false;                            ///< its standard error is ours, not part of output_fd()
  std::shared_ptr<const SecretString> api_key = {};     ///< in a file in memory, its descriptor 3; null: none
  std::shared_ptr<const Confinement> confinement = {};  ///< null: not confined; arguments and uid are then the plan's
  std::string init_program = {};                        ///< see ConfinedStart
};

class Child {
 public:
  /// Throws "runtime_failed" if the program cannot be executed.
  explicit Child(const ChildSpec& spec);
  /// end(0)
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  /// Of the runtime, or of the first process of its namespace.
  pid_t pid() const { return pid_; }
  /// Taken once: what a Connector talks to. Invalid where the runtime is not confined.
  Fd take_control() { return std::move(control_); }
  /// Read end of its standard output and, unless apart, error together; nonblocking.
  int output_fd() const { return output_.get(); }
  /// How it ended ("exit 1", "signal 9"), or nothing while it runs.
  std::optional<std::string> ended();
  /// SIGTERM to all of it, SIGKILL to what is left after `grace_ms`; returns when the last process is gone.
  void end(std::int64_t grace_ms);

 private:
  void start_group(const ChildSpec& spec, int output, int input, int key);
  void end_group(std::int64_t grace_ms);
  void end_confined(std::int64_t grace_ms);

  bool confined_ = false, own_pids_ = false;
  Fd control_;
  std::unique_ptr<ResourceGroup> resources_;
  pid_t pid_ = -1;
  Fd output_;
  std::optional<std::string> ending_;
};

/// True if any process of the group lives.
bool group_lives(pid_t group);

}  // namespace tb::sentinel::runtime
