// A step of `publish` as a process: this program itself, from its own executable, with an argument vector and no shell.
//
// The child is in a process group of its own, so that Ctrl-C reaches publish alone, which passes it on once and waits
// for the child to clean up. A child whose publish was killed gets SIGTERM from the kernel. It holds `inherited_fd` for
// as long as it lives: a lock on it outlasts a publish that was killed until its child is gone, too.
#pragma once

#include <string>
#include <vector>

namespace tb::cli {

struct StepEnd {
  int exit_status = 0;  ///< of the command; 128 + n where signal n ended it
  std::string output;   ///< its standard output
};

/// stdin is /dev/null, stderr is ours. Throws the errors of fork and pipe, "answer_too_large" past 4 MiB of output.
/// After an interrupt the child's end is awaited and given.
StepEnd run_step(const std::vector<std::string>& arguments, int inherited_fd);

}  // namespace tb::cli
