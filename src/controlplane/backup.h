// The console's commands backup and restore: which database, and what the operator has to know afterwards.
#pragma once

#include <string>
#include <vector>

#include "controlplane/config.h"

namespace tb::controlplane {

/// Writes the configured database into the new file `path`, while the service runs or not; one line for the operator.
/// Throws what store::back_up throws.
std::string back_up(const Config& config, const std::string& path);

struct RestoreReport {
  std::string line;
  std::vector<std::string> warnings;  ///< what is not as the backup was, or still has to be done
};
/// Fills the configured database from `path`, and records that in its event log. The service must not run. A KEK that
/// is missing, or is not the one that the stored keys are wrapped under, is a warning: it can be put back afterwards.
/// Throws what store::restore throws.
RestoreReport restore_backup(Config& config, const std::string& path, bool replace);

}  // namespace tb::controlplane
