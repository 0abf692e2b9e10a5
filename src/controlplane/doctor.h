// `trustbridge-control-plane doctor`: what an operator should know of the place where the keys and the database lie,
// before it hurts. It makes no key and no database; one that is there is opened as by every command, its schema brought
// up to date.
#pragma once

#include <vector>

#include "controlplane/config.h"
#include "obs/finding.h"

namespace tb::controlplane {

std::vector<obs::Finding> examine(const Config& config);

}  // namespace tb::controlplane
