// Whom this sentinel reports usage to, by its configuration: the one place that chooses a marketplace.
#pragma once

#include "sentinel/authorizer.h"
#include "sentinel/config.h"
#include "sentinel/proxy/filters.h"
#include "sentinel/usage_service.h"

namespace tb::sentinel {

/// `authorizer` and `gate` outlive what is returned. Throws "config_invalid" for a credential that is none.
UsageSources usage_sources(const Config& config, Authorizer& authorizer, const proxy::Gate& gate);

/// GPUs that the kernel shows here.
int gpus_here();

}  // namespace tb::sentinel
