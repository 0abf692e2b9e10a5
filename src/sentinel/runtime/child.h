// One run of the runtime: a process group of its own that never outlives the sentinel.
//
// Between fork and exec: own session, no new privileges, no core dumps, the runtime's user where we are root, SIGKILL
// when the sentinel dies, standard input from memory or /dev/null and output into a pipe, every other descriptor
// closed. Its end is the end of the whole group: what the runtime has started must not go on reading the model.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/fs.h"

namespace tb::sentinel::runtime {

struct ChildSpec {
  std::vector<std::string> arguments;    ///< the program first, looked up in PATH
  std::vector<std::string> environment;  ///< NAME=value
  uid_t uid = 0;                         ///< taken on where we are root and it is not 0
  std::string input = {};                ///< its standard input; empty: /dev/null
  bool errors_apart = false;             ///< its standard error is ours, not part of output_fd()
};

class Child {
 public:
  /// Throws "runtime_failed" if the program cannot be executed.
  explicit Child(const ChildSpec& spec);
  /// end(0)
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  pid_t pid() const { return pid_; }
  /// Read end of its standard output and, unless apart, error together; nonblocking.
  int output_fd() const { return output_.get(); }
  /// How it ended ("exit 1", "signal 9"), or nothing while it runs.
  std::optional<std::string> ended();
  /// SIGTERM to the group, SIGKILL to what is left of it after `grace_ms`; returns when the process is gone.
  void end(std::int64_t grace_ms);

 private:
  pid_t pid_ = -1;
  Fd output_;
  std::optional<std::string> ending_;
};

/// True if any process of the group lives.
bool group_lives(pid_t group);

}  // namespace tb::sentinel::runtime
