// The routes of TB_HEALTH_ADDR (wire 2.1). Bodies of /health and /readiness are kept from the first implementation.
#pragma once

#include <functional>

#include "http/router.h"
#include "obs/metrics.h"
#include "sentinel/api_keys.h"
#include "sentinel/status.h"

namespace tb::sentinel {

/// `snapshot` may be called from any thread. `keys` null: only loopback sees the new fields. All outlive the router.
http::Router health_router(std::function<Status()> snapshot, obs::Metrics& metrics, const ApiKeys* keys);

}  // namespace tb::sentinel
