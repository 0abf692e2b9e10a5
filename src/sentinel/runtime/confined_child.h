// Starts confined_init in its namespaces, with nothing of ours but three descriptors, and waits for its word that the
// runtime has been executed.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "base/fs.h"
#include "sentinel/runtime/isolation.h"
#include "sentinel/runtime/resource_group.h"

namespace tb::sentinel::runtime {

struct ConfinedChild {
  pid_t pid = -1;  ///< of init: with it all ends
  Fd control;
  std::unique_ptr<ResourceGroup> resources;  ///< null: it has no control group of its own
};

struct ConfinedStart {
  const Confinement& confinement;
  const std::vector<std::string>& environment;
  std::string program;  ///< whose main knows kInitVerb; empty: this one
  int output = -1;      ///< becomes its standard output and error
  int errors = -1;      ///< becomes its standard error; -1: the output
  int input = -1;       ///< becomes the runtime's descriptor 3; -1: none
};

/// Throws "runtime_failed" with what init says.
ConfinedChild start_confined(const ConfinedStart& start);

}  // namespace tb::sentinel::runtime
