// What a licence says of the manifest that is to come, beside what was configured: for whoever authenticates it.
#pragma once

#include "asset/manifest.h"
#include "sentinel/authorizer.h"
#include "sentinel/config.h"

namespace tb::sentinel {

/// All but the key, which the caller holds.
asset::Expectation expectation_of(const Config& config, const Lease& lease);

}  // namespace tb::sentinel
