// The commands beside serving: each opens what it needs, says on stdout what it was asked for, and ends.
#pragma once

#include "controlplane/command_line.h"

namespace tb::controlplane {

/// Runs any command but Command::kServe; the exit status. Throws what the command throws.
int run_console(const CommandLine& line);

}  // namespace tb::controlplane
